"""Keys of clients: their secrets, their scopes, and who sees them when."""

from __future__ import annotations

import hmac
import logging

import pytest

from tests.gateway.kept import admit, wait_for
from tryage.errors import UsageError
from tryage.gateway import keys
from tryage.gateway.keeper import DatabaseKeeper
from tryage.gateway.keeping import Pass
from tryage.gateway.keys import Limits, add_key, read_keys, recognise, revoke_key
from tryage.gateway.record.database import DatabaseFailed, open_database
from tryage.gateway.refusals import Refused

pytest_plugins = ["tests.gateway.databases"]


@pytest.fixture
def engine(database):
    engine = open_database(database)
    yield engine
    engine.dispose()


@pytest.fixture
def keeper(engine):
    keeper = DatabaseKeeper(engine, refresh_s=0.02)
    yield keeper
    keeper.close()


def live(engine):
    return {key.id: key for key in read_keys(engine)}


def test_a_key_is_recognised_by_its_secret(engine):
    key, secret = add_key(engine, "alice", limits=Limits(tokens_per_day=5), models=["gpt-*"])
    assert secret.startswith(f"try-{key.id}-")
    assert len(secret) == len("try-") + 12 + 1 + 43  # 256 bits
    found = recognise(secret, live(engine))
    assert found == key
    assert (found.models, found.limits.tokens_per_day) == (("gpt-*",), 5)


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s[:-1] + ("a" if s[-1] != "a" else "b"),
        lambda s: s[:-1],
        lambda s: s + "x",
        lambda s: s.upper(),
        lambda s: s[:16],
        lambda s: "",
        lambda s: "try-",
        lambda s: "sk-" + s[4:],
        lambda s: s + "\udcff",
        lambda s: "try-ééé",
    ],
)
def test_nothing_but_the_secret_is_recognised(tmp_path, change):
    engine = open_database(f"sqlite:///{tmp_path}/keys.db")
    _, secret = add_key(engine, "alice")
    add_key(engine, "bob")
    assert recognise(change(secret), live(engine)) is None
    engine.dispose()


def test_secrets_are_compared_in_constant_time(tmp_path, monkeypatch):
    engine = open_database(f"sqlite:///{tmp_path}/keys.db")
    key, secret = add_key(engine, "alice")
    known, compared = live(engine), []

    class Watched:
        def compare_digest(self, a, b):
            compared.append((a, b))
            return hmac.compare_digest(a, b)

    monkeypatch.setattr(keys, "hmac", Watched())
    recognise(secret, known)
    recognise(secret[:-1] + "!", known)
    recognise("try-000000000000-nobody", known)  # an id that is not known takes the same way
    assert len(compared) == 3
    assert all(len(a) == len(b) == 32 for a, b in compared)
    assert [b == key.hash for _, b in compared] == [True, True, False]
    engine.dispose()


def test_the_secret_stands_in_no_file(tmp_path):
    engine = open_database(f"sqlite:///{tmp_path}/keys.db")
    _, secret = add_key(engine, "alice")
    in_files = [file.read_bytes() for file in tmp_path.iterdir()]
    engine.dispose()
    in_files += [file.read_bytes() for file in tmp_path.iterdir()]
    whole = b"".join(in_files)
    assert b"alice" in whole
    assert secret.encode() not in whole
    assert secret[17:].encode() not in whole


async def test_no_secret_in_a_refusal_a_log_or_a_repr(keeper, engine, caplog):
    caplog.set_level(logging.DEBUG)
    key, secret = add_key(engine, "alice", models=["tryage"], limits=Limits(tokens_per_day=0))
    wait_for(lambda: key.id in keeper._keys)
    said = []
    for given, asked in [(secret, "x"), (secret, "tryage"), (secret + "x", "x"), (None, "x")]:
        with pytest.raises(Refused) as refused:
            await admit(keeper, given, model=asked)
        said.append((refused.value.status, str(refused.value), str(refused.value.as_json())))
    assert [status for status, *_ in said] == [403, 429, 401, 401]
    everything = repr(said) + caplog.text + repr(key) + repr(recognise(secret, live(engine)))
    assert secret[17:] not in everything
    assert key.hash.hex() not in everything
    assert repr(key.hash) not in everything


async def test_a_running_gateway_sees_keys_come_and_go(keeper, engine):
    key, secret = add_key(engine, "alice")

    async def status():
        try:
            await admit(keeper, secret)
        except Refused as refused:
            return refused.status
        return 200

    wait_for(lambda: key.id in keeper._keys)
    assert await status() == 200
    revoke_key(engine, "alice")
    wait_for(lambda: key.id not in keeper._keys)
    assert await status() == 401


async def test_a_key_without_limits_needs_no_database(tmp_path):
    engine = open_database(f"sqlite:///{tmp_path}/keys.db")
    key, secret = add_key(engine, "alice")
    keeper = DatabaseKeeper(engine, refresh_s=3600)
    asked = []
    keeper._threads.submit = lambda *work: asked.append(work)  # type: ignore[method-assign]
    admitted = await admit(keeper, secret)
    await keeper.settle(admitted, None, 0.1)
    assert (admitted.key, admitted.name) == (key.id, "alice")
    assert not asked
    keeper.close()
    engine.dispose()


@pytest.mark.parametrize(
    ("models", "asked", "allowed"),
    [
        (None, "anything", True),
        (["tryage"], "tryage", True),
        (["tryage"], "tryage:cheapest", False),
        (["tryage*"], "tryage:cost=0.3,size=0.1", True),
        (["tryage", "gpt-*"], "gpt-4o", True),
        (["gpt-*"], "GPT-4o", False),
        ([], "tryage", False),
    ],
)
async def test_a_key_asks_only_for_what_it_may(tmp_path, models, asked, allowed):
    engine = open_database(f"sqlite:///{tmp_path}/keys.db")
    _, secret = add_key(engine, "alice", models=models)
    keeper = DatabaseKeeper(engine)
    if allowed:
        assert (await admit(keeper, secret, model=asked)).name == "alice"
    else:
        with pytest.raises(Refused) as refused:
            await admit(keeper, secret, model=asked)
        assert (refused.value.status, refused.value.param) == (403, "model")
        assert asked in refused.value.message
    keeper.close()
    engine.dispose()


async def test_only_an_admin_sees_how_the_gateway_does(tmp_path):
    engine = open_database(f"sqlite:///{tmp_path}/keys.db")
    _, user = add_key(engine, "user")
    _, admin = add_key(engine, "admin", admin=True)
    keeper = DatabaseKeeper(engine)
    assert (await admit(keeper, admin, scope="admin")).name == "admin"
    with pytest.raises(Refused, match="--admin") as refused:
        await admit(keeper, user, scope="admin")
    assert refused.value.status == 403
    keeper.close()
    engine.dispose()


async def test_every_key_may_look_whatever_it_may_ask_for(keeper, engine):
    _, secret = add_key(engine, "alice", models=["tryage:cheap*"])
    wait_for(lambda: keeper._keys)
    for model in ("", "gpt-4o"):
        assert (await admit(keeper, secret, model=model, scope="look")).name == "alice"


async def test_a_database_that_is_lost_at_the_start_is_named_in_one_line(engine):
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE tryage_keys")
    with pytest.raises(DatabaseFailed, match="cannot be used: .*tryage_keys") as failed:
        DatabaseKeeper(engine)
    assert "\n" not in str(failed.value)


async def test_where_no_key_is_required_a_wrong_one_is_still_wrong(tmp_path):
    engine = open_database(f"sqlite:///{tmp_path}/keys.db")
    _, secret = add_key(engine, "alice", models=["tryage"])
    keeper = DatabaseKeeper(engine, required=False)
    assert await admit(keeper, None) == Pass()
    assert await admit(keeper, "sk-whatever a client must send") == Pass()
    assert (await admit(keeper, secret)).name == "alice"
    with pytest.raises(Refused):
        await admit(keeper, secret + "x")
    keeper.close()
    engine.dispose()


def test_a_name_is_free_again_once_its_key_is_revoked(engine):
    first, _ = add_key(engine, "alice")
    with pytest.raises(UsageError, match="'alice' already"):
        add_key(engine, "alice")
    assert revoke_key(engine, first.id).revoked is not None
    second, _ = add_key(engine, "alice")
    assert [key.id for key in read_keys(engine)] == [second.id]
    assert [key.id for key in read_keys(engine, revoked=True)] == [first.id, second.id]
    with pytest.raises(UsageError, match=r"no key 'alcie'.*Did you mean 'alice'"):
        revoke_key(engine, "alcie")


def test_a_key_needs_a_name(engine):
    with pytest.raises(UsageError, match="needs a name"):
        add_key(engine, " ")
