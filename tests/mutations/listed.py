"""The mutations: each takes one write or one guard out of a script."""

from __future__ import annotations

from dataclasses import dataclass

_MACHINE = "tests/integration/jobs/test_state_machine.py"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation:
    """
    One mutation.

    Attributes:
        name: Says what a script forgets.
        script: Its file under `jobs/scripts/lua`.
        old, new: What stands there once, and what stands there in its place.
        tests: Those that should notice, which run first; when they do not, all of the job table's do.
    """

    name: str
    script: str
    old: str
    new: str = ""
    tests: tuple[str, ...] = (_MACHINE,)

    def apply(self, text: str) -> str:
        """The mutated script. Raises `ValueError` where what is to be taken out does not stand there once."""
        if text.count(self.old) != 1:
            raise ValueError(f"{self.name}: {self.old!r} stands {text.count(self.old)} times in {self.script}")
        return text.replace(self.old, self.new)


def _forgets(name: str, script: str, old: str, new: str = "", tests: tuple[str, ...] = (_MACHINE,)) -> Mutation:
    return Mutation(name=name, script=script, old=old, new=new, tests=tests)


MUTATIONS = (
    # Claim and leases.
    _forgets("claim-of-a-job-that-is-not-queued", "claim.lua", "if status ~= 'queued' then", "if false then"),
    _forgets("claim-of-a-paused-queue", "claim.lua", "if is_paused(queue) then", "if false then"),
    _forgets(
        "claim-is-not-repeated-alike",
        "claim.lua",
        "if status == 'processing' and is.token == token then",
        "if false then",
    ),
    _forgets(
        "claim-of-what-is-late",
        "claim.lua",
        "local is_late = is_past(is.end_by) or is_past(is.start_by)",
        "local is_late = false",
    ),
    _forgets(
        "claim-takes-no-lease", "claim.lua", "redis.call('ZADD', key.running(queue), seconds(time + args.lease_s), id)"
    ),
    _forgets("claim-counts-no-delivery", "claim.lua", "(is.deliveries or 0) + 1", "(is.deliveries or 0)"),
    _forgets(
        "claim-releases-nothing",
        "claim.lua",
        "local ids = release(queue, caller)\nlocal released",
        "local ids = {}\nlocal released",
    ),
    _forgets(
        "job-keeps-its-turn-before-a-better-one",
        "claim.lua",
        "local better = gives_way and",
        "local better = false and",
    ),
    _forgets(
        "attempt-of-another-goes-on",
        "lib/ends.lua",
        "is.token ~= token then return 'fenced' end",
        "false then return 'fenced' end",
    ),
    _forgets("attempt-is-not-told-to-leave", "lib/ends.lua", "  if is.cancel then return 'cancel' end\n"),
    _forgets("attempt-is-charged-twice", "begin.lua", "if not is[charge] then", "if true then"),
    _forgets("attempt-is-not-refunded", "lib/ends.lua", "    redis.call('HINCRBY', key.job(id), 'attempts', -1)\n"),
    _forgets(
        "lease-is-not-renewed",
        "renew.lua",
        "for queue, leases in pairs(renewed) do redis.call('ZADD', key.running(queue), unpack(leases)) end\n",
    ),
    # Ends.
    _forgets("finish-by-another-attempt", "finish.lua", "if is.token ~= args.token then return {'fenced'} end\n"),
    _forgets("finish-leaves-a-lease", "finish.lua", "redis.call('ZREM', key.running(is.queue), id)\n"),
    _forgets("end-does-not-expire", "lib/ends.lua", "  redis.call('EXPIRE', job, args.retention_s)\n"),
    _forgets("events-do-not-expire", "lib/ends.lua", "  redis.call('EXPIRE', key.events(id), args.retention_s)\n"),
    _forgets(
        "end-is-on-no-list-of-what-expires",
        "lib/ends.lua",
        "  redis.call('ZADD', key.expiring, seconds(now() + args.retention_s), id .. ' ' .. is.caller)\n",
    ),
    _forgets(
        "batch-does-not-count-an-end",
        "lib/ends.lua",
        "  count_in_batch(is.batch, is.status, status)\n  if is.start_by",
        "  if is.start_by",
    ),
    _forgets("batch-does-not-expire", "lib/ends.lua", "  if is.batch then let_batch_expire(is.batch) end\n"),
    _forgets("cancel-leaves-a-job-where-it-waits", "cancel.lua", "  give_up(id, queue, caller)\n"),
    _forgets("cancel-does-not-ask-an-attempt", "cancel.lua", "  redis.call('HSET', key.job(id), 'cancel', 1)\n"),
    _forgets("cancel-leaves-no-tombstone", "cancel.lua", "if args.remember_s then", "if false then"),
    # Back to the queue.
    _forgets(
        "given-back-token-goes-on",
        "lib/ends.lua",
        "redis.call('HDEL', key.job(id), 'token', 'owner', 'stage'",
        "redis.call('HDEL', key.job(id), 'stage'",
    ),
    _forgets("give-back-by-another-attempt", "give_back.lua", " or field(id, 'token') ~= token then", " then"),
    _forgets("give-back-counts-as-a-delivery", "give_back.lua", "redis.call('HINCRBY', job, 'deliveries', -1)\n"),
    _forgets(
        "dead-go-on-for-ever",
        "reconcile.lua",
        "attempts >= args.max_attempts or deliveries >= args.max_deliveries",
        "false",
    ),
    _forgets("dead-are-on-no-list", "reconcile.lua", "  redis.call('ZADD', key.dead, seconds(time), id)\n"),
    _forgets(
        "replay-of-what-succeeded",
        "replay.lua",
        "(status ~= 'failed' and status ~= 'canceled' and status ~= 'expired') or",
        "",
    ),
    _forgets("replay-expires-with-its-first-end", "replay.lua", "redis.call('PERSIST', job)\n"),
    _forgets("replay-stays-on-the-list-of-the-dead", "replay.lua", "redis.call('ZREM', key.dead, id)\n"),
    _forgets("replay-is-told-of-its-first-end", "replay.lua", "if tell then unpost(id, tell) end\n"),
    # Turns.
    _forgets(
        "turn-costs-nothing",
        "lib/turns.lua",
        "redis.call('ZADD', key.shares(queue), tonumber(had or 0) + cost, caller)",
        "redis.call('ZADD', key.shares(queue), tonumber(had or 0), caller)",
    ),
    _forgets(
        "unused-turn-is-not-paid-back",
        "lib/turns.lua",
        "  if withdraw(id, queue, caller) then pay_back(id, queue, caller) end\n",
        "  withdraw(id, queue, caller)\n",
    ),
    _forgets(
        "line-has-no-bound",
        "lib/turns.lua",
        "  return math.max(args.window, 2 * live_slots(queue)) - standing\n",
        "  return 100\n",
    ),
    _forgets(
        "quota-is-not-asked", "submit.lua", "if args.quota and count_queued(caller) >= args.quota then", "if false then"
    ),
    # Later.
    _forgets(
        "later-job-does-not-count-for-a-quota",
        "lib/turns.lua",
        "+ redis.call('SCARD', key.later_of(queue, caller))",
        "",
    ),
    _forgets("later-job-never-begins", "reconcile.lua", "    wait_in_turn(id, queue, caller)\n  end\n", "  end\n"),
    # Adoption.
    _forgets(
        "message-is-made-two-jobs", "submit.lua", "if is_known and redis.call('EXISTS', job) == 1 then", "if false then"
    ),
    _forgets(
        "message-is-kept-for-ever",
        "submit.lua",
        "redis.call('HSET', job, unpack(fields))\nif args.tag then let_go(args.tag) end\n",
        "redis.call('HSET', job, unpack(fields))\n",
    ),
    _forgets(
        "message-is-taken-and-not-kept",
        "take.lua",
        "  redis.call('HSET', key.held, unpack(held))\n",
    ),
    _forgets("message-is-held-by-nobody", "take.lua", "  redis.call('ZADD', key.held_until, unpack(holds))\n"),
    _forgets(
        "message-of-a-tombstone-runs",
        "submit.lua",
        "if is_known and redis.call('DEL', key.tombstone(id)) == 1 then",
        "if false then",
    ),
    _forgets("refused-message-stays", "reject.lua", "if args.tag then let_go(args.tag) end\n"),
    # Outbox.
    _forgets("end-is-not-posted", "lib/ends.lua", "  if is.tell then post(id, is.tell) end\n"),
    _forgets("end-is-in-the-hands-of-two", "untold.lua", "  redis.call('ZADD', outbox, unpack(leases))\n"),
    _forgets(
        "late-teller-is-believed",
        "told.lua",
        "if redis.call('HGET', key.tellers(protocol), id) ~= args.token then return {'fenced'} end\n",
    ),
    _forgets("told-end-is-told-again", "told.lua", "redis.call('ZREM', key.outbox(protocol), id)\n"),
    _forgets(
        "given-up-end-is-forgotten",
        "told.lua",
        "if outcome == 'given_up' then redis.call('ZADD', key.untold(protocol), seconds(now()), id) end\n",
    ),
)
