"""The command line, the top layer: one file a command, each imported when it is called.

`main` finds the command and turns every failure into one line; `client` is the only file that speaks gRPC.
"""
