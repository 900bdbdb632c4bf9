"""The log in bulk: plan, execute, verify, roll back.

A run reads its sources once into spill files shared out by the hash of the lead (`read`), decides
which of several records under one audit id is the first (`order`), decides for each partition what
is new (`decide`), and writes whole conversations a transaction (`execute`). `plan` adds up the
same decisions without writing.
"""
