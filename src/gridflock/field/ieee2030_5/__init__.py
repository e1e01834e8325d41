"""IEEE 2030.5, CSIP and CSIP-AUS over mutual TLS: the utility's server, and its clients.

Needs ``gridflock[ieee2030_5]``; nothing here is imported before the protocol is asked for.
"""
