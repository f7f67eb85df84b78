"""
Hours of mixed load with faults and attacks in turns: `python -m tests.soak --minutes 60`.

Nothing that is kept may grow without an end, and no job may be lost. `growth.py` says what growth is, `samples.py` what
is looked at, `load.py` what two keys do meanwhile, `rotation.py` what is done to them.
"""
