"""Which keys are accepted, and what is said of those that are not."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pyrage
import pytest

from tests.servers.age import KeyPair
from workers.engine.age import checked_recipients, identity_of, read_identities
from workers.engine.errors import EngineError

SECRET = str(pyrage.x25519.Identity.generate())


def test_recipients_are_kept_once_and_without_spaces(new_key: Callable[[], KeyPair]) -> None:
    first, second = new_key().recipient, new_key().recipient
    assert checked_recipients([f" {first}\n", second, first]) == (first, second)
    assert checked_recipients([]) == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is no public key"),
        ("age1xyz", "is no public key"),
        ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0", "SSH keys are not accepted"),
        ("ssh-rsa AAAA", "SSH keys are not accepted"),
        ("correct horse battery staple", "is no public key"),
        (
            "age1yubikey1qwt50d05nh5vutpdzmlg5wn80xq5negm4uj9ghv0snvdd3yysf5yw3rhl3t",
            "no public key",
        ),
        ("AGE-SECRET-KEY-1XYZ", "secret key"),
    ],
)
def test_anything_else_is_refused_as_a_recipient(text: str, said: str) -> None:
    with pytest.raises(EngineError, match=said) as refused:
        checked_recipients([text])
    assert refused.value.code == "age_recipient_invalid"


def test_a_secret_key_is_never_repeated_when_it_is_given_as_a_recipient() -> None:
    for text in (SECRET, SECRET.lower()):
        with pytest.raises(EngineError, match="must never be given") as refused:
            checked_recipients([text])
        assert SECRET[20:30].lower() not in refused.value.sentences().lower()


def test_a_changed_letter_of_a_recipient_is_noticed(new_key: Callable[[], KeyPair]) -> None:
    good = new_key().recipient
    wrong = good[:20] + ("q" if good[20] != "q" else "p") + good[21:]
    with pytest.raises(EngineError):
        checked_recipients([wrong])


def test_more_recipients_than_anybody_needs_are_refused() -> None:
    keys = [str(pyrage.x25519.Identity.generate().to_public()) for _ in range(21)]
    assert len(checked_recipients(keys[:20])) == 20
    with pytest.raises(EngineError, match="More than 20"):
        checked_recipients(keys)


def test_the_public_key_is_told_of_a_secret_one() -> None:
    for _ in range(50):
        identity = pyrage.x25519.Identity.generate()
        assert identity_of(str(identity)).recipient == str(identity.to_public())
        assert str(identity)[20:] not in repr(identity_of(str(identity)))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "AGE-SECRET-KEY-1",
        SECRET[:-1],
        SECRET[:30] + SECRET[31:],
        SECRET[:40] + SECRET[40:].lower(),
        SECRET.replace("SECRET", "PUBLIC"),
        SECRET[:-1] + ("Q" if SECRET[-1] != "Q" else "P"),
        "AGE-PLUGIN-YUBIKEY-1Q",
    ],
    ids=["nothing", "prefix", "short", "gap", "case", "other", "changed", "plugin"],
)
def test_what_is_no_secret_key_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(EngineError) as refused:
        identity_of(text)
    assert refused.value.code == "age_identity_unusable"
    assert len(text) < 20 or text not in refused.value.sentences()


def test_a_file_of_keys_is_read_as_age_keygen_writes_it(
    tmp_path: Path, age_program: str, new_key: Callable[[], KeyPair]
) -> None:
    made = subprocess.run(
        [f"{age_program}-keygen", "-o", str(tmp_path / "k")],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert read_identities(tmp_path / "k")[0].recipient in made.stderr
    key, other = new_key(), new_key()
    key.file.write_text(f"# ours\n\n{key.secret}\r\n{other.secret}\n")
    found = [identity.recipient for identity in read_identities(key.file)]
    assert found == [key.recipient, other.recipient]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620, 0o601])
def test_a_file_that_is_open_to_others_is_refused(
    mode: int, new_key: Callable[[], KeyPair]
) -> None:
    key = new_key()
    key.file.chmod(mode)
    with pytest.raises(EngineError, match="by others than its owner") as refused:
        read_identities(key.file)
    assert "chmod 600" in refused.value.hint
    assert refused.value.code == "age_identity_unusable"


@pytest.mark.parametrize("content", ["", "# nothing\n", "not a key\n", "AGE-SECRET-KEY-1QQ\n"])
def test_a_file_without_keys_is_refused(content: str, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.touch(mode=0o600)
    file.write_text(content)
    with pytest.raises(EngineError) as refused:
        read_identities(file)
    assert refused.value.code == "age_identity_unusable"
    assert str(file) in refused.value.message


def test_a_file_that_is_not_there_or_none_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(EngineError, match=str(path)):
            read_identities(path)
