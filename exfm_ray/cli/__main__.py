"""`python -m exfm_ray.cli`"""

from exfm_ray.cli.app import main

if __name__ == "__main__":
    main()
