"""Prints every command of the installed flwr and every program with its options, as JSON: name -> list of flags."""

import argparse
import importlib.metadata
import json
import sys

NO_OPTIONS_OF_OURS = {"--install-completion", "--show-completion", "--help"}


class Found(Exception):
    pass


def commands_of(command, path):
    options = [flag for parameter in command.params if parameter.param_type_name == "option"
               for flag in [*parameter.opts, *parameter.secondary_opts]]
    arguments = [parameter.name for parameter in command.params if parameter.param_type_name != "option"]
    yield path, {"options": options, "arguments": len(arguments)}
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands_of(inner, f"{path} {name}")


def options_of(program):
    """Starts the program as far as its parser, which is caught when it is about to read the arguments."""
    parsers = []

    def catch(parser, *_args, **_kwargs):
        parsers.append(parser)
        raise Found

    argparse.ArgumentParser.parse_args = catch
    argparse.ArgumentParser.parse_known_args = catch
    sys.argv = [program.name]
    try:
        program.load()()
    except Found:
        pass
    return [flag for action in parsers[0]._actions for flag in action.option_strings]


from flwr.cli.app import typer_click_object

found = dict(commands_of(typer_click_object, "flwr"))
for program in importlib.metadata.entry_points(group="console_scripts"):
    if program.dist.name == "flwr" and program.name != "flwr":
        sys.stdout, output = sys.stderr, sys.stdout
        found[program.name] = {"options": options_of(program), "arguments": 0}
        sys.stdout = output
for entry in found.values():
    entry["options"] = [flag for flag in entry["options"] if flag not in NO_OPTIONS_OF_OURS]
print(json.dumps(found))
