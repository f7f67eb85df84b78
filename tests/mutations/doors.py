"""Mutations. What comes from outside and what goes out."""

from __future__ import annotations

from tests.mutations.mutation import forgets

DOORS = (
    # Adoption.
    forgets(
        "message-is-made-two-jobs",
        "submit.lua",
        "if is_known and redis.call('EXISTS', job) == 1 then",
        "if false then",
        tests="table:submission_repeated_under_its_id_gives_the_same_answer_and_one_job",
    ),
    forgets(
        "message-is-kept-for-ever",
        "submit.lua",
        "redis.call('HSET', job, unpack(fields))\nif args.tag then let_go(args.tag) end\n",
        "redis.call('HSET', job, unpack(fields))\n",
        tests="inbox:message_is_let_go_by_the_script_that_writes_its_job",
    ),
    forgets(
        "message-is-taken-and-not-kept",
        "take.lua",
        "  redis.call('HSET', key.held, unpack(held))\n",
        tests="inbox:no_more_are_taken_than_asked_for",
    ),
    forgets("message-is-held-by-nobody", "take.lua", "  redis.call('ZADD', key.held_until, unpack(holds))\n"),
    forgets(
        "message-of-a-tombstone-runs",
        "submit.lua",
        "if is_known and was_canceled() then",
        "if false then",
        tests="inbox:message_that_was_canceled_before_it_came_ends_as_it_comes",
    ),
    forgets(
        "refused-message-stays",
        "reject.lua",
        "if args.tag then let_go(args.tag) end\n",
        tests="inbox:message_is_let_go_by_the_script_that_writes_its_job",
    ),
    forgets(
        "dropped-message-stays", "let_go.lua", "let_go(args.tag)\n", tests="inbox:message_is_dropped_or_passed_on_once"
    ),
    forgets(
        "message-is-passed-on-to-nobody",
        "let_go.lua",
        "  redis.call('LPUSH', args.list, string.match(held, '^[^\\n]*\\n(.*)$'))\n",
        tests="inbox:message_is_dropped_or_passed_on_once",
    ),
    forgets(
        "message-is-passed-on-again",
        "let_go.lua",
        "local held = redis.call('HGET', key.held, args.tag)\nif not held then return 0 end\n",
        "local held = redis.call('HGET', key.held, args.tag) or '\\n'\n",
        tests="inbox:message_is_dropped_or_passed_on_once",
    ),
    forgets(
        "dropped-message-is-not-counted",
        "let_go.lua",
        "  note_refused(string.match(held, '^[^\\6\\n]*'))\n",
        tests="inbox:dropped_message_is_counted_as_refused_once",
    ),
    forgets(
        "message-is-let-go-and-kept",
        "lib/base.lua",
        "  redis.call('HDEL', key.held, tag)\n",
        tests="inbox:message_is_let_go_by_the_script_that_writes_its_job",
    ),
    forgets(
        "message-is-let-go-and-held",
        "lib/base.lua",
        "  redis.call('ZREM', key.held_until, tag)\n",
        tests="inbox:message_is_let_go_by_the_script_that_writes_its_job",
    ),
    forgets(
        "message-that-comes-again-is-told-nothing",
        "submit.lua",
        "  if args.notifications then note_wants(id, args.notifications) end\n",
        tests="outbox:message_that_comes_again_has_the_end_told_anew_as_it_asks",
    ),
    forgets(
        "refusal-that-comes-again-is-told-nothing",
        "reject.lua",
        "  if args.notifications then note_wants(id, args.notifications) end\n",
        tests="announce:refusal_is_told_and_again_to_who_sends_it_again",
    ),
    forgets(
        "message-that-comes-again-is-not-noted",
        "lib/ends.lua",
        "  redis.call('HSET', key.job(id), unpack(fields))\n",
        tests="outbox:message_that_comes_again_has_the_end_told_anew_as_it_asks",
    ),
    forgets(
        "end-is-told-only-once-to-who-sends-again",
        "lib/ends.lua",
        "    post(id, protocols)\n",
        tests="announce:refusal_is_told_and_again_to_who_sends_it_again",
    ),
    forgets(
        "end-that-is-told-anew-stays-with-its-teller",
        "lib/ends.lua",
        "    unpost(id, protocols)\n",
        tests="outbox:message_that_comes_again_has_the_end_told_anew_as_it_asks",
    ),
    # Outbox.
    forgets(
        "end-is-not-in-the-stream-of-all",
        "lib/ends.lua",
        "  redis.call('XADD', key.ends, 'MAXLEN', '~', ENDS_MAX, '*', 'id', id, 'status', status, 'queue', is.queue,\n"
        "    'caller', is.caller)\n",
    ),
    forgets(
        "given-up-end-stays-so-though-it-is-to-be-told",
        "retry_notices.lua",
        "redis.call('ZREM', key.given_up(protocol), id) == 1",
        "redis.call('ZSCORE', key.given_up(protocol), id)",
        tests="outbox:end_that_was_given_up_is_told_after_all",
    ),
    forgets(
        "end-that-was-put-off-waits-though-it-is-to-be-told",
        "retry_notices.lua",
        "is_given_up or is_put_off",
        "is_given_up",
        tests="outbox:end_that_is_put_off_is_told_now_and_one_in_hand_stays_there",
    ),
    forgets(
        "end-in-hand-is-told-by-another",
        "retry_notices.lua",
        "\n    and redis.call('HEXISTS', key.notifiers(protocol), id) == 0",
        tests="outbox:end_that_was_put_off_and_is_in_hand_again_stays_there",
    ),
    forgets(
        "end-of-a-forgotten-job-is-to-be-told",
        "retry_notices.lua",
        " and redis.call('EXISTS', key.job(id)) == 1",
        tests="outbox:end_whose_job_is_forgotten_is_forgotten",
    ),
    forgets(
        "teller-of-its-own-end-is-not-noted",
        "lib/ends.lua",
        "    if args.notifier then redis.call('HSET', key.notifiers(protocol), id, args.notifier) end\n",
        tests="outbox:end_is_told_by_whoever_brought_it_about",
    ),
    forgets(
        "end-is-not-posted",
        "lib/ends.lua",
        "  if is.tell then post(id, is.tell) end\n",
        tests="announce:result_is_told",
    ),
    forgets(
        "end-is-in-the-hands-of-two",
        "take_notices.lua",
        "  redis.call('ZADD', outbox, unpack(leases))\n",
        tests="announce:teller_that_dies_between_telling_and_noting_leaves_it_to_another",
    ),
    forgets(
        "late-teller-is-believed",
        "settle_notice.lua",
        "if redis.call('HGET', key.notifiers(protocol), id) ~= args.token then return {'fenced'} end\n",
        tests="outbox:what_becomes_of_an_end_is_counted_once",
    ),
    forgets(
        "told-end-is-told-again",
        "settle_notice.lua",
        "redis.call('ZREM', key.outbox(protocol), id)\n",
        tests="outbox:what_becomes_of_an_end_is_counted_once",
    ),
    forgets(
        "given-up-end-is-forgotten",
        "settle_notice.lua",
        "if outcome == 'given_up' then redis.call('ZADD', key.given_up(protocol), seconds(now()), id) end\n",
        tests="outbox:end_that_was_given_up_is_told_after_all",
    ),
)
