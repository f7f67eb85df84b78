-- Write a job and release as many of its caller's jobs as the window allows.
-- Repeating it, under the same id, changes nothing and gives the same answer. A refusal for the quota leaves nothing
-- behind, so a repetition of it asks again.
local id, spec, schema, queue, caller, rank = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6])
local idempotency_key, digest, start_deadline, deadline = ARGV[7], ARGV[8], ARGV[9], ARGV[10]
local window, origin, quota = tonumber(ARGV[11]), ARGV[12], tonumber(ARGV[13])
local job = key('job', id)

if redis.call('EXISTS', job) == 1 then
  return {'created', id, cjson.decode(field(id, 'next') or '[]')}
end
local owner = idempotency_key ~= '' and key('idempotency', caller, idempotency_key)
local first = owner and redis.call('GET', owner)
if first then
  return {field(first, 'digest') == digest and 'replayed' or 'conflict', first, {}}
end
if quota and count_queued(caller) >= quota then return {'over_quota', id, {}} end
if owner then
  redis.call('SET', owner, id)
  redis.call('HSET', job, 'idempotency', owner)
end

local time = now()
redis.call('HSET', job, 'spec', spec, 'schema', schema, 'queue', queue, 'caller', caller, 'status', 'queued',
  'digest', digest, 'origin', origin, 'created_at', seconds(time))
if start_deadline ~= '' then redis.call('HSET', job, 'start_by', seconds(time + tonumber(start_deadline))) end
if deadline ~= '' then redis.call('HSET', job, 'end_by', seconds(time + tonumber(deadline))) end
redis.call('SADD', key('queues'), queue)
redis.call('SADD', key('callers', queue), caller)
local number = next_number()
redis.call('HSET', job, 'turn', ranked(rank, number))
enlist(id, caller, number)
wait_in_turn(id, queue, caller)
note_deadline(id)
local released = release(queue, caller, window)
redis.call('HSET', job, 'next', cjson.encode(released))
return {'created', id, released}
