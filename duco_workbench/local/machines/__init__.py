"""The machines of an embedded stack: agents like those on real ones, on simulated buses or on logs played again.

``plan`` says what each machine is (written by ``duco up``) · ``simulated`` stands in for its buses and its computer ·
``__main__`` runs an agent for each · ``past`` writes what simulated machines did before, then ends.
"""
