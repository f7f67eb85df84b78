"""Mutations. Where jobs wait, whose turn it is, and who reads them."""

from __future__ import annotations

from tests.mutations.mutation import forgets

WAITING = (
    # Moves.
    forgets(
        "move-is-not-repeated-alike",
        "reprioritize.lua",
        "if moved == args.nonce then return {'moved', redis.call('HGETALL', job)} end\n",
        tests="moves:move_under_its_nonce_again_changes_nothing",
    ),
    forgets(
        "move-of-a-job-that-began",
        "reprioritize.lua",
        "if status ~= 'queued' then return {status} end\n",
        tests="moves:job_that_begins_meanwhile_is_not_moved",
    ),
    forgets(
        "moved-job-stands-among-all-where-it-stood",
        "reprioritize.lua",
        "redis.call('ZADD', key.queued(queue), 'XX', turn, id)\n",
        tests="moves:moved_job_is_of_its_priority_in_the_figures",
    ),
    forgets(
        "moved-job-waits-where-it-waited",
        "reprioritize.lua",
        "redis.call('ZADD', key.waiting(queue, caller), 'XX', turn, id)\n",
        tests="moves:moved_job_is_released_next",
    ),
    forgets(
        "moved-job-keeps-the-turn-of-its-old-place",
        "reprioritize.lua",
        "if released and rank_of(released) ~= CALLED then redis.call('ZADD', key.turns(queue, caller), turn, id) end\n",
        tests="moves:job_that_was_released_gives_way_when_its_priority_falls",
    ),
    forgets(
        "moved-job-loses-the-turn-that-it-was-given",
        "reprioritize.lua",
        " and rank_of(released) ~= CALLED",
        tests="moves:job_that_has_the_turn_of_another_takes_no_further_one_when_it_is_moved",
    ),
    forgets(
        "move-leaves-the-record",
        "reprioritize.lua",
        "'turn', turn, 'spec'",
        "'spec'",
        tests="moves:moved_job_that_comes_back_has_its_new_place",
    ),
    forgets(
        "front-is-lost-with-another-priority",
        "reprioritize.lua",
        " or priority_rank(turn) ~= rank_of(turn)",
        tests="moves:job_at_the_front_stays_there_with_another_priority",
    ),
    # Turns.
    forgets(
        "turn-costs-nothing",
        "lib/shares.lua",
        "    had = had + (cost or 0)\n",
    ),
    forgets(
        "caller-takes-turns-though-nothing-waits",
        "lib/shares.lua",
        "    if (id and has_second[waiting] == id) or redis.call('EXISTS', waiting) == 1 then\n",
        "    if true then\n",
    ),
    forgets(
        "caller-is-taken-for-one-of-whom-more-waits",
        "lib/turns.lua",
        "    if second then has_second[each] = first end\n",
        "    if first then has_second[each] = first end\n",
    ),
    forgets(
        "job-waits-beside-an-older-version-that-would-have-released-it",
        "submit.lua",
        "    if first ~= caller then released = release_beside_older(queue, caller) end\n",
        tests="beside_older:each_caller_has_jobs_released_where_only_its_own_claims_release_more",
    ),
    forgets(
        "unused-turn-is-not-paid-back",
        "lib/turns.lua",
        "  if place and rank_of(place) < LINE then pay_back(id, queue, caller) end\n",
        tests="fairness:who_cancels_what_was_released_gains_nothing_and_loses_nothing",
    ),
    forgets(
        "line-has-no-bound",
        "lib/turns.lua",
        "  return math.max(args.window, 2 * slots) - standing\n",
        "  return 100\n",
        tests="table:third_job_waits_when_the_window_is_two",
    ),
    forgets(
        "quota-is-not-asked",
        "submit.lua",
        "if args.quota and count_queued(caller) >= args.quota then",
        "if false then",
        tests="quota:submission_beyond_the_quota_is_refused_and_leaves_nothing",
    ),
    forgets("turns-cost-all-the-same", "lib/shares.lua", "return tonumber(cost) or 1,", "return 1,"),
    forgets(
        "turn-of-a-job-that-comes-back-is-not-paid-back",
        "lib/ends.lua",
        "  pay_back(id, queue, caller)\n",
        tests="turns:turn_of_a_job_that_comes_back_is_paid_back",
    ),
    forgets(
        "job-that-is-called-up-pays-nothing",
        "lib/turns.lua",
        "      redis.call('ZADD', set, had + (price_of(id, queue) or 0), caller)\n",
        tests="turns:job_that_is_called_up_before_its_release_is_paid_for",
    ),
    forgets(
        "turn-that-cost-nothing-is-paid-back",
        "lib/shares.lua",
        "  if is_unpaid then return end\n",
        tests="turns:job_whose_turn_cost_nothing_pays_nothing_back",
    ),
    forgets(
        "stream-of-first-jobs-keeps-backlogs-waiting",
        "lib/shares.lua",
        "if not sharer or firsts < args.window then",
        "if true then",
        tests="fairness:stream_of_new_callers_keeps_nobody_waiting",
    ),
    forgets(
        "stream-of-single-jobs-keeps-others-waiting",
        "lib/shares.lua",
        "if begins and alone >= args.window then",
        "if false then",
        tests="fairness:stream_of_new_callers_keeps_nobody_waiting",
    ),
    forgets(
        "who-had-more-than-others-is-forgotten-as-he-leaves",
        "lib/shares.lua",
        "    redis.call('ZADD', key.gone(queue), had, caller)\n",
        tests="fairness:who_comes_and_goes_gains_nothing_by_it",
    ),
    # Ghosts.
    forgets(
        "ended-job-keeps-its-place-in-the-line",
        "claim.lua",
        "  if redis.call('ZSCORE', key.line(queue), id) then\n",
        "  if false then\n",
        tests="ghosts:claim_of_an_ended_job_that_stands_in_the_line_releases_the_next",
    ),
    forgets(
        "message-of-an-ended-job-is-looked-for",
        "reconcile.lua",
        "    if is.status == 'queued' then\n      look_later",
        "    if true then\n      look_later",
        tests="ghosts:look_for_the_message_of_an_ended_job_releases_the_next",
    ),
    forgets(
        "job-gives-way-to-one-that-has-ended",
        "lib/turns.lua",
        "    if first and rank_of(turn) < rank then first, turn = first_queued(each) end\n",
        tests="ghosts:no_job_gives_way_to_one_that_has_ended",
    ),
    forgets(
        "ended-job-is-released",
        "lib/shares.lua",
        "  if found[1] ~= 'queued' then\n",
        "  if false then\n",
        tests="ghosts:ended_job_that_stands_with_those_that_wait_is_not_released",
    ),
    # Messages.
    forgets(
        "message-that-is-sent-on-a-guess-is-looked-for-as-soon-as-ever",
        "put_off.lua",
        "local guesses = redis.call('HINCRBY', key.job(id), 'guesses', 1)",
        "local guesses = 0",
        tests="reconcile_lists:message_behind_more_stale_ones_than_are_read_is_sent_again_ever_more_seldom",
    ),
    # Pauses.
    forgets(
        "pause-is-noticed-a-second-later",
        "pause.lua",
        "  look_anew(queue)\n  return {}\n",
        "  return {}\n",
        tests="queues:paused_queue_hands_out_nothing_and_keeps_what_waits",
    ),
    forgets(
        "resumption-is-noticed-a-second-later",
        "pause.lua",
        "key.paused, queue)\nlook_anew(queue)\n",
        "key.paused, queue)\n",
        tests="queues:resumed_queue_hands_out_what_there_is_room_for_in_turn",
    ),
    forgets(
        "slots-are-noticed-a-second-later",
        "lib/slots.lua",
        " then look_anew(queue) end\n",
        " then end\n",
        tests="slots:more_slots_release_more_without_a_claim",
    ),
    forgets(
        "pause-is-not-noted",
        "pause.lua",
        "  redis.call('SADD', key.paused, queue)\n",
        tests="queues:paused_queue_hands_out_nothing_and_keeps_what_waits",
    ),
    forgets(
        "resumption-is-not-noted",
        "pause.lua",
        "redis.call('SREM', key.paused, queue)\n",
        tests="queues:resumed_queue_hands_out_what_there_is_room_for_in_turn",
    ),
    forgets(
        "resumption-releases-nothing",
        "pause.lua",
        "local released = release(queue)",
        "local released = {}",
        tests="queues:resumed_queue_hands_out_what_there_is_room_for_in_turn",
    ),
    forgets(
        "resumption-releases-nothing-for-older-workers",
        "pause.lua",
        "if is_older_in_charge() then",
        "if false then",
        tests="beside_older:resumed_queue_has_jobs_of_each_caller_there",
    ),
    forgets(
        "pause-counts-for-the-pace",
        "pause.lua",
        "redis.call('HDEL', key.pace(queue), 'last')",
        tests="places:paused_queue_promises_no_time_and_its_rest_does_not_count",
    ),
    # Reads.
    forgets(
        "read-of-what-has-ended",
        "watch.lua",
        "if is.status == 'queued' or is.status == 'processing' then",
        "if is.status then",
        tests="watching:job_that_has_ended_is_read_for_nothing",
    ),
    forgets(
        "read-is-not-noted",
        "watch.lua",
        "'watched', seconds(now() + args.watch_s), 'unseen'",
        "'unseen'",
        tests="watching:job_that_was_read_while_it_waited_begins_before_its_readers",
    ),
    forgets(
        "read-is-told-to-nobody-who-runs-the-job",
        "watch.lua",
        "      redis.call('PUBLISH', channel.watched(is.owner), id)\n",
        tests="watching:whoever_runs_the_job_hears_of_its_readers_and_of_no_others",
    ),
    forgets(
        "read-tells-not-where-the-job-is",
        "watch.lua",
        "if is.unseen == '1' and",
        "if false and",
        tests="watching:read_tells_followers_where_the_job_is_once",
    ),
    forgets(
        "read-tells-again-where-the-job-is",
        "watch.lua",
        ", 'unseen', 0)",
        ")",
        tests="watching:read_tells_followers_where_the_job_is_once",
    ),
    # Later.
    forgets(
        "later-job-does-not-count-for-a-quota",
        "lib/turns.lua",
        "+ redis.call('SCARD', key.later_of(queue, caller))",
        "",
        tests="later:it_counts_for_its_caller_s_quota",
    ),
    forgets(
        "later-job-never-begins",
        "reconcile.lua",
        "  if is.status == 'queued' then wait_in_turn(id, queue, is.caller, is.turn) end\n",
        tests="later:job_begins_when_its_time_has_come_and_not_before",
    ),
    forgets(
        "ended-job-for-later-begins",
        "reconcile.lua",
        "  if is.status == 'queued' then wait_in_turn",
        "  if true then wait_in_turn",
        tests="ghosts:job_for_later_that_has_ended_never_waits",
    ),
    forgets(
        "due-jobs-of-all-callers-come-in-one-line",
        "reconcile.lua",
        "  local done = some_of_each(key.later_callers(queue), later_of_one, most, begin)\n",
        "  local done = 0\n",
        tests="later:due_job_is_released_at_the_next_pass_however_many_of_another_are_due",
    ),
)
