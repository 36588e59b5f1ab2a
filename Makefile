# Two commands on a machine that has Python 3.11+ and make: `make quickstart` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
OUT ?= runs/quickstart
BENCH := .bench
FUXICTR ?= https://github.com/reczoo/FuxiCTR
FUXICTR_COMMIT := 0245987fdc1d43c36164ea496a02324885a8557a

.PHONY: quickstart test test-slow lint browser zookeeper redis s3 install bench-env

quickstart: $(INSTALLED)  ## run the main job and say where its report is
	$(BIN)/exfm run sims/quickstart.yaml --out $(OUT)

test: lint browser zookeeper s3  ## what CI runs
	$(BIN)/pytest

test-slow: $(INSTALLED) redis  ## the tests that take minutes each
	$(BIN)/pytest -m slow --timeout 3600

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Chromium shows the report to its test; without it that test is skipped and says so.
browser:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || \
	  { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get update -qq && \
	    apt-get install -y -qq --no-install-recommends chromium >/dev/null; } || \
	  echo "Chromium is not installed and cannot be: the report is not tested in a browser"

# A real ZooKeeper holds the latest pointer in its tests; without it those tests are skipped and say so.
zookeeper:
	@{ command -v java && test -e /usr/share/java/zookeeper.jar; } >/dev/null || \
	  { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get update -qq && \
	    apt-get install -y -qq --no-install-recommends zookeeper >/dev/null; } || \
	  echo "ZooKeeper is not installed and cannot be: its tests of the latest pointer are skipped"

# A real Redis keeps what the head of a cluster knows in a slow test; without it that test is skipped and says so.
redis:
	@command -v redis-server >/dev/null || \
	  { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get update -qq && \
	    apt-get install -y -qq --no-install-recommends redis-server >/dev/null; } || \
	  echo "Redis is not installed and cannot be: the test of a head that is started anew is skipped"

# An S3-compatible server, in an environment of its own because it needs an older package than the project; without it
# those tests are skipped and say so.
s3:
	@test -x .s3/bin/moto_server || \
	  { $(PYTHON) -m venv .s3 && \
	    .s3/bin/python -m pip install --quiet --disable-pip-version-check --requirement tests/s3_server.txt; } || \
	  echo "An S3-compatible server cannot be installed: the tests on S3 are skipped"

# The libraries that benchmarks compare with, in an environment of their own because some need older packages than the
# project; torch, Ray and all else come from the project's. FuxiCTR's package lacks its models: they are in its repository.
bench-env: $(INSTALLED)
	test -x $(BENCH)/bin/python || $(BIN)/python -m venv $(BENCH)
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
	  > "$$($(BENCH)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/project.pth"
	$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["bench"], sep="\n")' \
	  > $(BENCH)/requirements.txt
	$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement $(BENCH)/requirements.txt
	test -d $(BENCH)/FuxiCTR || git clone --quiet --no-checkout $(FUXICTR) $(BENCH)/FuxiCTR
	git -C $(BENCH)/FuxiCTR checkout --quiet $(FUXICTR_COMMIT)

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@
