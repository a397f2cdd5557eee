"""Records of runs, and pages for people: a page per run, a page per incident, and an index of both.

The pages need no server: style, script and text are in the file, pictures are files beside it. `page`, `sanitize` and the
modules named after a page turn values into HTML without input or output; `publish` writes the files.
"""
