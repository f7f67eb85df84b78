"""Mutations. How a job is run, ends and comes back."""

from __future__ import annotations

from tests.mutations.mutation import forgets

JOBS = (
    # Claim and leases.
    forgets(
        "claim-of-a-job-that-is-not-queued",
        "claim.lua",
        "if status ~= 'queued' then",
        "if false then",
        tests="table:one_of_many_claimers_gets_the_job",
    ),
    forgets(
        "claim-of-a-paused-queue",
        "claim.lua",
        "if is_paused(queue) then",
        "if false then",
        tests="queues:paused_queue_hands_out_nothing_and_keeps_what_waits",
    ),
    forgets(
        "claim-is-not-repeated-alike",
        "claim.lua",
        "if status == 'processing' and is.token == token then",
        "if false then",
        tests="table:claim_gives_the_whole_job_to_its_worker",
    ),
    forgets(
        "claim-of-what-is-late",
        "claim.lua",
        "local is_late = is_past(is.end_by) or is_past(is.start_by)",
        "local is_late = false",
        tests="table:job_whose_deadline_passed_is_expired_at_its_claim",
    ),
    forgets(
        "claim-takes-no-lease",
        "claim.lua",
        "redis.call('ZADD', key.running(queue), seconds(time + args.lease_s), id)",
        tests="table:lease_ends_by_the_clock_of_redis",
    ),
    forgets(
        "claim-counts-no-delivery",
        "claim.lua",
        "(is.deliveries or 0) + 1",
        "(is.deliveries or 0)",
        tests="reconcile:job_that_never_begins_is_dead_after_many_deliveries",
    ),
    forgets(
        "claim-releases-nothing",
        "claim.lua",
        "local ids = release(queue, caller)\nlocal released",
        "local ids = {}\nlocal released",
        tests="table:job_is_released_when_an_earlier_one_is_claimed",
    ),
    forgets(
        "job-keeps-its-turn-before-a-better-one",
        "claim.lua",
        "local better = gives_way and",
        "local better = false and",
        tests="turns:waiting_job_of_a_better_priority_takes_the_turn_of_one_that_was_released",
    ),
    forgets(
        "attempt-of-another-goes-on",
        "lib/ends.lua",
        "is.token ~= token then return 'fenced' end",
        "false then return 'fenced' end",
        tests="table:stale_token_changes_nothing",
    ),
    forgets(
        "attempt-is-not-told-to-leave",
        "lib/ends.lua",
        "  if is.cancel then return 'cancel' end\n",
        tests="table:running_job_is_told_at_its_next_step",
    ),
    forgets(
        "attempt-is-charged-twice",
        "begin.lua",
        "if not is[charge] then",
        "if true then",
        tests="table:attempt_is_charged_once_when_the_job_enters_encode",
    ),
    forgets(
        "attempt-is-not-refunded",
        "lib/ends.lua",
        "    redis.call('HINCRBY', key.job(id), 'attempts', -1)\n",
        tests="leases:worker_that_lost_its_job_and_lives_takes_its_charge_back_once",
    ),
    forgets(
        "lease-is-not-renewed",
        "renew.lua",
        "for queue, leases in pairs(renewed) do redis.call('ZADD', key.running(queue), unpack(leases)) end\n",
        tests="leases:renewed_lease_ends_one_lease_from_now",
    ),
    # Ends.
    forgets(
        "finish-by-another-attempt",
        "finish.lua",
        "if is.token ~= args.token then return {'fenced'} end\n",
        tests="table:stale_token_changes_nothing",
    ),
    forgets("finish-leaves-a-lease", "finish.lua", "redis.call('ZREM', key.running(is.queue), id)\n"),
    forgets(
        "end-does-not-expire",
        "lib/ends.lua",
        "  redis.call('EXPIRE', job, args.retention_s)\n",
        tests="table:everything_about_an_ended_job_is_kept_for_a_while_and_no_longer",
    ),
    forgets(
        "events-do-not-expire",
        "lib/ends.lua",
        "  redis.call('EXPIRE', key.events(id), args.retention_s)\n",
        tests="table:everything_about_an_ended_job_is_kept_for_a_while_and_no_longer",
    ),
    forgets(
        "end-is-on-no-list-of-what-expires",
        "lib/ends.lua",
        "  redis.call('ZADD', key.expiring, seconds(now() + args.retention_s), id .. ' ' .. is.caller)\n",
        tests="lists:job_leaves_the_lists_when_its_record_expires",
    ),
    forgets(
        "batch-does-not-count-an-end",
        "lib/ends.lua",
        "  count_in_batch(is.batch, is.status, status)\n  if is.start_by",
        "  if is.start_by",
        tests="batches:batch_counts_its_jobs_by_status",
    ),
    forgets(
        "batch-does-not-expire",
        "lib/ends.lua",
        "  if is.batch then let_batch_expire(is.batch) end\n",
        tests="batches:batch_expires_with_its_last_job_and_not_before",
    ),
    forgets(
        "cancel-leaves-a-job-where-it-waits",
        "cancel.lua",
        "  give_up(id, queue, caller)\n",
        tests="table:job_that_was_canceled_while_it_waited_is_not_released",
    ),
    forgets(
        "cancel-does-not-ask-an-attempt",
        "cancel.lua",
        "  redis.call('HSET', key.job(id), 'cancel', 1)\n",
        tests="table:running_job_is_told_at_its_next_step",
    ),
    forgets(
        "cancel-leaves-no-tombstone",
        "cancel.lua",
        "if args.remember_s then",
        "if false then",
        tests="inbox:message_that_was_canceled_before_it_came_ends_as_it_comes",
    ),
    # Back to the queue.
    forgets(
        "given-back-token-goes-on",
        "lib/ends.lua",
        "redis.call('HDEL', key.job(id), 'token', 'owner', 'stage'",
        "redis.call('HDEL', key.job(id), 'stage'",
        tests="leases:job_that_was_given_back_belongs_to_nobody",
    ),
    forgets(
        "give-back-by-another-attempt",
        "give_back.lua",
        " or field(id, 'token') ~= token then",
        " then",
        tests="leases:job_that_another_attempt_runs_is_not_given_back",
    ),
    forgets(
        "give-back-counts-as-a-delivery",
        "give_back.lua",
        "redis.call('HINCRBY', job, 'deliveries', -1)\n",
        tests="leases:job_may_be_given_back_any_number_of_times",
    ),
    forgets(
        "dead-go-on-for-ever",
        "reconcile.lua",
        "attempts >= args.max_attempts or deliveries >= args.max_deliveries",
        "false",
        tests="reconcile:job_is_dead_when_it_lost_its_worker_too_often",
    ),
    forgets(
        "dead-are-on-no-list",
        "reconcile.lua",
        "  redis.call('ZADD', key.dead, seconds(time), id)\n",
        tests="queues:the_last_to_die_is_listed_first",
    ),
    forgets(
        "replay-of-what-succeeded",
        "replay.lua",
        "(status ~= 'failed' and status ~= 'canceled' and status ~= 'expired') or",
        "",
        tests="queues:only_a_job_that_ended_without_images_is_replayed",
    ),
    forgets(
        "replay-expires-with-its-first-end",
        "replay.lua",
        "redis.call('PERSIST', job)\n",
        tests="queues:replayed_dead_job_is_as_new_under_its_id",
    ),
    forgets(
        "replay-stays-on-the-list-of-the-dead",
        "replay.lua",
        "redis.call('ZREM', key.dead, id)\n",
        tests="queues:replayed_dead_job_is_as_new_under_its_id",
    ),
    forgets("replay-is-told-of-its-first-end", "replay.lua", "if tell then unpost(id, tell) end\n"),
)
