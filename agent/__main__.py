"""`python -m lalm_agent`: the command line."""

from lalm_agent.cli.main import main

if __name__ == "__main__":
    main()
