#!lua flags=allow-oom
-- Give a queued job another priority, with a specification that says so; or put it before all of its caller's that have
-- the same one, where it stays whatever priority it is given later.
-- Repeating it, under the same nonce, changes nothing and gives the same answer: the record.
local id = args.job_id
local job = key.job(id)
local status, queue, caller, turn, moved = unpack(redis.call('HMGET', job, 'status', 'queue', 'caller', 'turn',
  'moved'))

if not status then return {'missing'} end
if moved == args.nonce then return {'moved', redis.call('HGETALL', job)} end
if status ~= 'queued' then return {status} end
local rank, number = PRIORITY_RANK[args.priority], tonumber(turn) % RANK
if args.is_front then number = RANK - 1 - next_number() end
if args.is_front or priority_rank(turn) ~= rank_of(turn) then rank = rank - FRONT end
turn = ranked(rank, number)
redis.call('HSET', job, 'turn', turn, 'spec', args.spec, 'moved', args.nonce)
redis.call('ZADD', key.queued(queue), 'XX', turn, id)
redis.call('ZADD', key.waiting(queue, caller), 'XX', turn, id)
local released = redis.call('ZSCORE', key.turns(queue, caller), id)
if released and rank_of(released) ~= CALLED then redis.call('ZADD', key.turns(queue, caller), turn, id) end
return {'moved', redis.call('HGETALL', job)}
