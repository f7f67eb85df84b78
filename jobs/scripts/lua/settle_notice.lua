#!lua flags=allow-oom
-- The outcome of a notification: it was sent, it is to be retried after a while, or it is given up.
-- Nothing where another notifier has it, or the job has ended anew: that end has its own notification.
local id, protocol, outcome = args.job_id, args.protocol, args.outcome
if redis.call('HGET', key.notifiers(protocol), id) ~= args.token then return {'fenced'} end
redis.call('HDEL', key.notifiers(protocol), id)
redis.call('HINCRBY', key.notifications(protocol), outcome, 1)
if outcome == 'later' then
  if redis.call('HINCRBY', key.tries(protocol), id, 1) == 1 then
    redis.call('ZADD', key.late(protocol), field(id, 'ended_at') or seconds(now()), id)
  end
  redis.call('ZADD', key.outbox(protocol), seconds(now() + args.after_s), id)
  return {'done'}
end
redis.call('ZREM', key.outbox(protocol), id)
if args.tries > 0 then forget_tries(protocol, id) end
if outcome == 'given_up' then redis.call('ZADD', key.given_up(protocol), seconds(now()), id) end
return {'done'}
