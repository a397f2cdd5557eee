"""The environment of the templates. Imported at the first text, as the import of jinja2 takes 0.1 s."""

from functools import partial

from jinja2 import Environment, PackageLoader, StrictUndefined

from alerting.messages.format import inside_sentence, is_web, plain_line, tidy

templates = Environment(loader=PackageLoader("alerting.messages"), autoescape=True, undefined=StrictUndefined, auto_reload=False)
sentence = partial(tidy, capital=True)  # for a line whose first piece varies
templates.filters |= {"tidy": tidy, "sentence": sentence, "plain": plain_line, "inside": inside_sentence}
templates.tests["web"] = is_web
