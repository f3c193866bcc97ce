"""Commands: what is accepted, what is refused in which state, and that none of them dials twice."""

import asyncio
from urllib.parse import quote

import pytest

from tests.runtime.support import settle, virtual
from tests.surfaces.api.support import CONNECTIONS, asking, connector_of, eventually, scripted, world
from tether.surfaces.api.shapes import Connection
from tether.surfaces.supervisor import Supervisor
from tether.testing.scripted import Accept


async def post(client, name, command):
    return await client.post(f"{CONNECTIONS}/{quote(name, safe='')}/{command}")


@pytest.mark.parametrize("name", ["up", "sleeping", "failed", "dialing", "back"])
@virtual
async def test_reconnect_is_accepted_in_every_living_state(name):
    async with world() as supervisor, asking(supervisor) as client:
        response = await post(client, name, "reconnect")

        assert response.status_code == 202
        assert response.headers["location"] == f"{CONNECTIONS}/{name}"
        assert Connection.model_validate_json(response.content, strict=True).id == name


@pytest.mark.parametrize("name", ["up", "sleeping", "failed"])
@virtual
async def test_a_reconnect_dials_at_once_and_once_however_often_it_is_asked_for(name):
    async with world() as supervisor, asking(supervisor) as client:
        connector = connector_of(supervisor, name)
        connector.then = Accept(after=0.5)
        dials, generation = len(connector.dials), supervisor.manager.get(name).generation

        answers = await asyncio.gather(*(post(client, name, "reconnect") for _ in range(20)))
        await eventually(lambda: supervisor.manager.get(name).generation > generation)
        again = await post(client, name, "reconnect")
        await eventually(lambda: supervisor.manager.get(name).is_connected)

        assert {answer.status_code for answer in (*answers, again)} == {202}
        assert len(connector.dials) == dials + 1
        assert len(connector.live) == 1


@virtual
async def test_a_reconnect_after_one_that_ended_dials_again():
    async with world() as supervisor, asking(supervisor) as client:
        connector = connector_of(supervisor, "up")
        for count in (2, 3):
            await post(client, "up", "reconnect")
            await eventually(lambda count=count: len(connector.dials) == count)
            await eventually(lambda: supervisor.manager.get("up").is_connected)

        assert len(connector.live) == 1


@pytest.mark.parametrize("command", ["reconnect", "pause", "resume"])
@pytest.mark.parametrize(
    ("name", "code", "said"),
    [("idle", "not_started", "idle is not started"), ("broken", "cannot_start", "no such option")],
)
@virtual
async def test_what_does_not_run_takes_no_command(name, code, said, command):
    async with world() as supervisor, asking(supervisor) as client:
        response = await post(client, name, command)

        assert response.status_code == 409
        assert response.json()["code"] == code
        assert said in response.json()["detail"]


@virtual
async def test_a_paused_one_is_not_reconnected():
    async with world() as supervisor, asking(supervisor) as client:
        dials = len(connector_of(supervisor, "paused").dials)
        response = await post(client, "paused", "reconnect")
        await settle()

        assert (response.status_code, response.json()["code"]) == (409, "paused")
        assert response.json()["detail"] == "paused is paused; resume it first"
        assert len(connector_of(supervisor, "paused").dials) == dials


@pytest.mark.parametrize("name", ["up", "sleeping", "failed"])
@virtual
async def test_pause_and_resume_are_idempotent(name):
    async with world() as supervisor, asking(supervisor) as client:
        for command, paused in (("pause", True), ("pause", True), ("resume", False), ("resume", False)):
            response = await post(client, name, command)
            assert response.status_code == 202
            assert response.json()["paused"] is paused


@virtual
async def test_a_paused_connection_makes_no_attempt_until_it_is_resumed():
    async with world() as supervisor, asking(supervisor) as client:
        connector = connector_of(supervisor, "sleeping")
        await post(client, "sleeping", "pause")
        dials = len(connector.dials)
        await asyncio.sleep(1000)
        assert len(connector.dials) == dials

        connector.then = Accept()
        await post(client, "sleeping", "resume")
        await eventually(lambda: supervisor.manager.get("sleeping").is_connected)


@pytest.mark.parametrize("name", ["nobody", "%2F", "a/b", "..", "äö 中", "<script>", "up/", "a" * 500])
@virtual
async def test_an_unknown_name_is_404(name):
    async with asking() as client:
        path = f"{CONNECTIONS}/{quote(name, safe='')}"
        answers = [await client.get(path)]
        answers += [await client.post(f"{path}/{command}") for command in ("reconnect", "pause", "resume")]

        for response in answers:
            assert response.status_code == 404
            assert response.headers["content-type"] == "application/problem+json"
            assert response.json()["code"] == "not_found"


@pytest.mark.parametrize(
    "name", ["redis://h:6379/0", "äö 中", "a%2Fb", "100%", "?x=1#y", "reconnect", ".hidden"]
)
@virtual
async def test_odd_names_can_be_asked_for_and_commanded(name):
    supervisor = Supervisor()
    supervisor.add(name, scripted(name))
    supervisor.start()
    await settle()
    async with asking(supervisor) as client:
        one = await client.get(f"{CONNECTIONS}/{quote(name, safe='')}")
        accepted = await post(client, name, "pause")
        seen = await client.get(accepted.headers["location"])
    await supervisor.stop()

    assert one.json()["id"] == name
    assert accepted.status_code == 202
    assert (seen.json()["id"], seen.json()["paused"]) == (name, True)


@virtual
async def test_a_typo_is_answered_with_the_name_that_was_meant_and_many_names_with_a_few():
    supervisor = Supervisor()
    for number in range(300):
        supervisor.add(f"robot-{number:03}", scripted(f"robot-{number:03}"))
    async with asking(supervisor) as client:
        close = (await client.get(f"{CONNECTIONS}/robot-07")).json()["detail"]
        far = (await client.get(f"{CONNECTIONS}/xyz")).json()["detail"]

    assert "did you mean 'robot-" in close
    assert far.endswith("and 290 more")
    assert len(far) < 300
