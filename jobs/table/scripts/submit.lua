-- Write a job and release as many of its caller's jobs as the window allows.
-- Repeating it, under the same id, changes nothing and gives the same answer. A refusal leaves nothing behind, so a
-- repetition of it asks again.
local id, spec, schema, queue, caller, rank = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6])
local idempotency_key, digest, start_deadline, deadline = ARGV[7], ARGV[8], ARGV[9], ARGV[10]
local window, origin, quota = tonumber(ARGV[11]), ARGV[12], tonumber(ARGV[13])
local batch, line, custom_id, traceparent = ARGV[14], ARGV[15], ARGV[16], ARGV[17]
local job = key('job', id)

if redis.call('EXISTS', job) == 1 then
  return {'created', id, cjson.decode(field(id, 'next') or '[]')}
end
local owner = idempotency_key ~= '' and key('idempotency', caller, idempotency_key)
local first = owner and redis.call('GET', owner)
if first then
  return {field(first, 'digest') == digest and 'replayed' or 'conflict', first, {}}
end
if batch ~= '' and redis.call('HGET', key('batch', batch), 'is_closed') then return {'batch_canceled', id, {}} end
if quota and count_queued(caller) >= quota then return {'over_quota', id, {}} end

-- What follows is written in few commands: a hundred thousand jobs may come at once.
local time, number = now(), next_number()
local turn = ranked(rank, number)
local fields = {'spec', spec, 'schema', schema, 'queue', queue, 'caller', caller, 'digest', digest, 'origin', origin,
  'created_at', seconds(time), 'turn', turn, 'status', 'queued'}
local function note(name, value)
  fields[#fields + 1], fields[#fields + 2] = name, value
end
if start_deadline ~= '' then note('start_by', seconds(time + tonumber(start_deadline))) end
if deadline ~= '' then note('end_by', seconds(time + tonumber(deadline))) end
if traceparent then note('traceparent', traceparent) end
if owner then
  redis.call('SET', owner, id)
  note('idempotency', owner)
end
if batch ~= '' then
  note('batch', batch)
  if custom_id ~= '' then note('custom_id', custom_id) end
  redis.call('ZADD', key('batch_jobs', batch), line, id)
  redis.call('HINCRBY', key('batch', batch), 'queued', 1)
  keep_batch(batch)
end
redis.call('HSET', job, unpack(fields))
redis.call('SADD', key('queues'), queue)
redis.call('SADD', key('callers', queue), caller)
enlist(id, caller, number)
redis.call('ZADD', key('waiting', queue, caller), turn, id)
redis.call('ZADD', key('queued', queue), turn, id)
count(queue, 'submitted')
if start_deadline ~= '' or deadline ~= '' then note_deadline(id) end
local released = release(queue, caller, window)
if #released > 0 then redis.call('HSET', job, 'next', cjson.encode(released)) end
return {'created', id, released}
