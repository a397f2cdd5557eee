"""The record of a run and the pages that people read: a page per run, a page per incident, and the index of both.

The pages need no server: style, script and text are in the file, pictures lie beside it. `layout`, `run_page`, `incident_page`,
`index_page` and `sanitize` turn values into HTML and do no input or output; `publish` writes the files.
"""
