import asyncio

from mta.model.mail import QueueShare
from mta.scheduling.claim_lanes import ClaimLanes
from mta.scheduling.queue_room import QueueRoom
from tests.support.scheduling import QUEUE


async def sleeps(lane):
    return not await lane.alarm.sleep(0.02)


async def test_the_lane_that_has_waited_longest_is_woken_when_there_is_much_room():
    first, second = lanes = ClaimLanes(2)
    room = QueueRoom(lanes)
    room.wait(QueueShare(QUEUE), second)
    room.wait(QueueShare(QUEUE), first)
    room.room_for(QUEUE, lambda: 32)
    assert QUEUE in room
    assert (await sleeps(first), await sleeps(second)) == (True, False)
    room.room_for(QUEUE, lambda: 32)
    assert QUEUE not in room
    assert not await sleeps(first)


async def test_little_room_is_gathered_for_a_moment_and_room_that_is_spoken_for_does_not_count():
    (lane,) = lanes = ClaimLanes(1)
    room = QueueRoom(lanes)
    room.wait(QueueShare(QUEUE), lane)
    room.ask(QUEUE, 30)
    room.room_for(QUEUE, lambda: 40)
    assert QUEUE in room
    assert await lane.alarm.sleep(1.0)
    room.answered(QUEUE, 30)
    assert room.left(QUEUE, 40) == 40


async def test_egress_is_not_asked_for_a_queue_that_no_lane_waits_for():
    room = QueueRoom(ClaimLanes(1))
    room.room_for(QUEUE, lambda: 1 // 0)


async def test_once_closed_it_wakes_nobody():
    (lane,) = lanes = ClaimLanes(1)
    room = QueueRoom(lanes)
    room.wait(QueueShare(QUEUE), lane)
    room.room_for(QUEUE, lambda: 1)
    room.close()
    room.room_for(QUEUE, lambda: 100)
    await asyncio.sleep(0)
    assert await sleeps(lane)


async def test_shares_take_turns_for_room_whichever_lane_waited_first():
    lanes = list(ClaimLanes(3))
    room = QueueRoom(ClaimLanes(1))
    for lane in lanes[:2]:
        room.wait(QueueShare(QUEUE), lane)
    room.wait(QueueShare(QUEUE, ".2"), lanes[2])
    room.room_for(QUEUE, lambda: 32)
    room.room_for(QUEUE, lambda: 32)
    assert [await sleeps(lane) for lane in lanes] == [False, True, False]


async def test_a_lane_that_is_woken_waits_anew_for_each_of_its_shares():
    (lane,) = lanes = ClaimLanes(1)
    room = QueueRoom(lanes)
    room.wait(QueueShare(QUEUE), lane)
    room.wait(QueueShare(QUEUE, "acme"), lane)
    room.room_for(QUEUE, lambda: 32)
    assert QUEUE not in room
