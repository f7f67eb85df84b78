#!lua flags=allow-oom
-- queued → processing, and the next job goes to Celery: whose turn it is.
-- A job's message brings its caller a turn. With `gives_way`, a job of its caller's with a better priority takes that,
-- and this one waits for another.
-- Repeating it, under the same token, gives the same answer.
local id, token, gives_way = args.job_id, args.token, args.gives_way
local job = key.job(id)
local status, overtaken = unpack(redis.call('HMGET', job, 'status', 'overtaken'))

if not status then return {'missing'} end
-- Asked first: it may be another's by now, and the messages have to be sent nevertheless.
if overtaken and cjson.decode(overtaken).token == token then
  return {'refused', as_list(cjson.decode(overtaken).released), 'overtaken'}
end
if status == 'processing' and field(id, 'token') == token then
  return {'claimed', field(id, 'next'), redis.call('HGETALL', job)}
end
if status == 'expired' and not field(id, 'token') then return {'refused', field(id, 'next'), status} end
if status ~= 'queued' then return {'refused', '[]', status} end

local queue, caller = field(id, 'queue'), field(id, 'caller')
-- A newer producer wrote it; a newer worker will run it. It stays released, and its message is sent again.
if tonumber(field(id, 'schema')) > SCHEMA_VERSION then return {'refused', '[]', 'newer'} end
if redis.call('SISMEMBER', key.paused, queue) == 1 then
  step_back(id, queue, caller)
  return {'refused', '[]', 'paused'}
end
local is_late = is_past(field(id, 'end_by')) or is_past(field(id, 'start_by'))
-- A message too many, of a job that is not released, brings no turn.
if gives_way and not is_late and not redis.call('ZSCORE', key.line(queue), id) then
  return {'refused', '[]', 'waiting'}
end
local better = gives_way and not is_late and better_than(rank_of(field(id, 'turn')), queue, caller)
if better then
  step_back(id, queue, caller)
  call_up(better, queue, caller)
  local ids = release(queue, caller)
  table.insert(ids, 1, better)
  redis.call('HSET', job, 'overtaken', cjson.encode({token = token, released = ids}))
  return {'refused', as_list(ids), 'overtaken'}
end
if is_late then give_up(id, queue, caller) else withdraw(id, queue, caller) end
local released = as_list(release(queue, caller))
if is_late then
  conclude(id, 'expired', {'error', late_error(id), 'next', released})
  return {'refused', released, 'expired'}
end
local time = now()
set_status(id, 'processing')
redis.call('HSET', job, 'owner', args.owner, 'token', token, 'started_at', seconds(time), 'next', released)
local limit = tonumber(field(id, 'time_limit'))
if limit then redis.call('HSET', job, 'run_by', seconds(time + limit)) end
redis.call('HINCRBY', job, 'epoch', 1)
redis.call('HINCRBY', job, 'deliveries', 1)
redis.call('ZADD', key.running(queue), seconds(time + args.lease_s), id)
redis.call('ZREM', key.deadlines, id)
announce(id, 'status', {status = 'processing'})
return {'claimed', released, redis.call('HGETALL', job)}
