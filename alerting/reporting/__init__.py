"""Data in, pages out: a run, an incident, and the index of both, as HTML that needs nothing but itself. Pure.

Whatever comes from data, from the chat or from a notebook passes `markup.text` or `cleaning.clean` on its way.
"""
