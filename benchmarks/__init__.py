"""One harness for kiokupy and its peers: the same work in one run, alternating, with the durability of each write.

Usage: ``scripts/bench --help``. What stands where:

===============  ====================================================================================
``stores``       one small class for each contestant, with the same verbs, and the list of them
``payloads``     what a session holds
``works``        what is timed on one open store; ``timing``: how, and ``beside``: packing beside other work
``workers``      a process of its own for each contestant, that does works when it is told to
``rounds``       small works: the contestants take turns, several times
``large``        the same among 100,000 sessions or more: cold reads, sweeps, disk, opening
``weights``      what a session takes in memory and on the disk
``growth``       what many changes leave on the disk, and packing it away beside other work
``bounds``       the memory of who reads more than it may keep
``field``        who takes part, and who is left out
``fsyncs``       how many times a write waits for the disk
``graphs``       object graphs, beside Persistent classes and KiokuDB in Perl
``startup``      what importing and opening cost
``figures``      what a run found: rounds, medians, ratios; JSON
``goals``        what is to be reached, and what was
``tables``       figures as tables
``report``       figures as text and as docs/performance.rst; ``plots`` as SVG
===============  ====================================================================================
"""
