"""How we speak: one package per protocol or program beyond our border.

``opendss`` writes our feeder for another power-flow program and lets it judge our answers. Each
adapter is blind to the others and to every stage; its library is an optional extra.
"""
