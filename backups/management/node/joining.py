"""`node join` and `node refresh`: on a host, fetch its settings from the panel and keep them."""

from __future__ import annotations

import getpass
import os
import secrets
import socket
import sys
from argparse import ArgumentParser
from collections.abc import Mapping
from pathlib import Path

from django.conf import settings
from django.core.management.base import CommandError

from backups.environment_file import read_private, replacing_private
from backups.management.node import panel
from backups.management.node.base import Options, Subcommand, Write
from backups.management.node.checks import problems_with

SECRET_KEY = "HOLDFAST_SECRET_KEY"  # noqa: S105
CREDENTIAL = "HOLDFAST_NODE_CREDENTIAL"
PANEL_URL = "HOLDFAST_PANEL_URL"
STANDARD_INPUT = "-"


def _add_common_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--file", type=Path, help="keep the settings here, not in the usual place")
    parser.add_argument(
        "--allow-http", action="store_true", help="let the secrets travel unencrypted"
    )


def _add_join_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--panel", required=True, help="as https://backups.example.com")
    token = parser.add_mutually_exclusive_group(required=True)
    token.add_argument(
        "--token",
        metavar=STANDARD_INPUT,
        help="ask for what `node token` printed, or read it from standard input",
    )
    token.add_argument("--token-file", type=Path, help="a file that holds the token")
    _add_common_arguments(parser)


def _add_refresh_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--panel", help="where the panel is now, if it has moved")
    _add_common_arguments(parser)


def _join(options: Options, write: Write) -> None:
    address = panel.usable_url(options["panel"], allow_http=options["allow_http"])
    path = _path(options)
    token = _token(options)
    earlier = _earlier(path)
    # The token is good once: that the file can be written is known before it is used.
    try:
        with replacing_private(path) as replace:
            answer = panel.join(address, token=token, hostname=socket.gethostname())
            own = {
                PANEL_URL: address,
                CREDENTIAL: answer.credential,
                SECRET_KEY: earlier.get(SECRET_KEY) or secrets.token_urlsafe(64),
            }
            variables = {**earlier, **answer.settings, **own}
            _check(variables, answer, "The token is used up: mend this and ask for another one.")
            replace(variables)
    except OSError as error:
        raise _unwritable(path, error) from error
    write(f"This host is {answer.node_name} now. Its settings are in {path}.")
    is_usual = path == settings.HOLDFAST_NODE_FILE
    write(f"Start: {'' if is_usual else f'HOLDFAST_NODE_FILE={path} '}manage.py worker")


def _refresh(options: Options, write: Write) -> None:
    path = _path(options)
    earlier = _earlier(path)
    # The file that was named may be another one than that which this process was started with.
    credential = earlier.get(CREDENTIAL) or settings.HOLDFAST_NODE_CREDENTIAL
    if not credential:
        raise CommandError("This host has not joined: manage.py node join --panel … --token -")
    address = panel.usable_url(
        options["panel"] or earlier.get(PANEL_URL) or settings.HOLDFAST_PANEL_URL,
        allow_http=options["allow_http"],
    )
    answer = panel.own_settings(address, credential=credential)
    variables = {**earlier, **answer.settings, PANEL_URL: address}
    if variables == earlier:
        write(f"Nothing has changed in {path}.")
        return
    _check(variables, answer, f"{path} stays as it was.")
    try:
        with replacing_private(path) as replace:
            replace(variables)
    except OSError as error:
        raise _unwritable(path, error) from error
    changed = sorted(name for name in variables if variables[name] != earlier.get(name))
    write(f"Changed in {path}: {', '.join(changed)}. Restart this host's workers.")


def _path(options: Options) -> Path:
    path: Path | None = options["file"] or settings.HOLDFAST_NODE_FILE
    if path is None:
        raise CommandError("There is no usual place for the settings here: name one with --file.")
    return path.absolute()


def _earlier(path: Path) -> dict[str, str]:
    """Return what the file holds: what the panel does not give may be the host's own."""
    # A folder that this user may not enter is told as one that cannot be written to.
    return read_private(path) if os.access(path, os.F_OK) else {}


def _token(options: Options) -> str:
    try:
        if options["token_file"]:
            token = options["token_file"].read_text()
        elif options["token"] != STANDARD_INPUT:
            raise CommandError(
                "Every user of this host can read a command's arguments, so a token is not taken "
                f"from them: give --token {STANDARD_INPUT} and the token to standard input, or "
                "--token-file. Ask the panel for another token; this one may have been seen."
            )
        else:
            token = getpass.getpass("Token: ") if sys.stdin.isatty() else sys.stdin.readline()
    except (OSError, ValueError) as error:
        raise CommandError(f"The token cannot be read: {error}") from error
    if not token.strip():
        raise CommandError("The token is empty.")
    return str(token).strip()


def _check(variables: Mapping[str, str], answer: panel.Answer, consequence: str) -> None:
    problems = problems_with(variables, answer.node_name, answer.allowed_roots)
    if problems:
        raise CommandError("\n".join([*problems, consequence]))


def _unwritable(path: Path, error: OSError) -> CommandError:
    return CommandError(
        f"{path} cannot be written ({error.strerror}): name another place with --file."
    )


SUBCOMMANDS = (
    Subcommand("join", "make this host a node, with a token", _add_join_arguments, _join),
    Subcommand("refresh", "get this host's settings again", _add_refresh_arguments, _refresh),
)
