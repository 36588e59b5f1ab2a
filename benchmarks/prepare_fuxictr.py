"""FuxiCTR's side of prepare.py: its preprocessing of TaobaoAd_x1 with the published settings; then waits to be ended.

Runs in the interpreter that has fuxictr 2.3.10 (which needs polars < 2); nothing of exfm_ray is imported.
"""

import json
import sys
import time

from fuxictr.preprocess import FeatureProcessor, build_dataset

CATEGORICAL = [
    *("userid", "cms_segid", "cms_group_id", "final_gender_code", "age_level", "pvalue_level", "shopping_level"),
    *("occupation", "new_user_class_level", "adgroup_id", "cate_id", "campaign_id", "customer", "brand", "pid", "btag"),
]
SHARED = {"cate_his": "cate_id", "brand_his": "brand", "btag_his": "btag"}


def main() -> None:
    path, out = sys.argv[1:]
    started = time.monotonic()
    columns = [
        {"name": CATEGORICAL, "active": True, "dtype": "str", "type": "categorical"},
        {"name": "price", "active": True, "dtype": "float", "type": "numeric"},
        *(
            {
                "name": name,
                "active": True,
                "dtype": "str",
                "type": "sequence",
                "splitter": "^",
                "max_len": 50,
                "share_embedding": shared,
            }
            for name, shared in SHARED.items()
        ),
    ]
    processor = FeatureProcessor(columns, {"name": "clk", "dtype": "float"}, dataset_id="x1", data_root=out)
    build_dataset(processor, f"{path}/train.csv", f"{path}/test.csv", min_categr_count=10)
    print(json.dumps({"seconds": time.monotonic() - started}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
