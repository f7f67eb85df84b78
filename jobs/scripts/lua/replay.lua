-- failed, canceled or expired → queued: the same job again, as if it had just been submitted.
-- Repeating it, under the same nonce, gives the same answer.
local id = args.job_id
local job = key.job(id)
local status = field(id, 'status')

if not status then return {'missing', '[]'} end
if field(id, 'replay') == args.nonce then return {'replayed', field(id, 'next'), redis.call('HGETALL', job)} end
if (status ~= 'failed' and status ~= 'canceled' and status ~= 'expired') or not field(id, 'spec') then
  return {status, '[]'}
end
local queue, caller = field(id, 'queue'), field(id, 'caller')
for _, name in ipairs(redis.call('HKEYS', job)) do
  if string.sub(name, 1, 7) == 'charge:' then redis.call('HDEL', job, name) end
end
redis.call('HDEL', job, 'token', 'owner', 'stage', 'step', 'steps', 'started_at', 'ended_at', 'error', 'images',
  'timings', 'cancel', 'overtaken', 'attempts', 'deliveries', 'given_back', 'start_by', 'end_by',
  'not_before', 'run_by', 'unpaid', 'guesses')
local time = now()
if args.start_deadline then redis.call('HSET', job, 'start_by', seconds(time + args.start_deadline)) end
if args.deadline then redis.call('HSET', job, 'end_by', seconds(time + args.deadline)) end
local turn = tonumber(field(id, 'turn'))
set_status(id, 'queued')
redis.call('HSET', job, 'replay', args.nonce, 'turn', ranked(priority_rank(turn), next_number()),
  'replayed_at', seconds(time))
count(queue, 'submitted')
redis.call('PERSIST', job)
redis.call('ZREM', key.expiring, id .. ' ' .. caller)
enlist(id, caller, turn % RANK)
local idempotency, batch, protocols = field(id, 'idempotency'), field(id, 'batch'), field(id, 'tell')
if protocols then unpost(id, protocols) end
if idempotency then redis.call('PERSIST', idempotency) end
if batch then keep_batch(batch) end
redis.call('ZREM', key.dead, id)
redis.call('DEL', key.events(id))
count_kept(id, caller, idempotency)
redis.call('SADD', key.queues, queue)
wait_in_turn(id, queue, caller)
note_deadline(id)
local released = as_list(release(queue, caller))
redis.call('HSET', job, 'next', released)
return {'replayed', released, redis.call('HGETALL', job)}
