"""Who is in service: the ledger says, and MLflow's aliases and ``recommendations`` follow it.

The ledger is the truth. A promotion is one row of it; whatever else has to agree is brought into
agreement afterwards, by a step that may be killed anywhere and run again.
"""
