#!lua flags=allow-oom
-- A process has looked for what a deleted job has left, and deleted what it `found`. Its result is gone when nothing was
-- found a lease later, and nobody is to be notified any more. Then it is looked for ever more seldom, for `watch_s`: an
-- attempt that was cut off may upload yet. Answers whether the result is gone.
-- Repeating it changes nothing.
local id, time = args.job_id, now()
local held, note = redis.call('ZSCORE', key.deletions, id), redis.call('HGET', key.deletion_notes, id)
if not held or not note then return 1 end
note = cjson.decode(note)
-- Somebody wants another look since this one began: it is due.
if tonumber(held) ~= tonumber(args.held_until) then return 0 end

if args.found > 0 then
  note.since = seconds(time)
  redis.call('HSET', key.deletion_notes, id, cjson.encode(note))
end

-- What callbacks and chains are made of may repeat what the job was asked for; it goes when they are sent.
local function forget_wants(protocols)
  for protocol in string.gmatch(protocols, '%S+') do
    if redis.call('ZSCORE', key.outbox(protocol), id) then return false end
  end
  unpost(id, protocols)
  for protocol in string.gmatch(protocols, '%S+') do redis.call('HDEL', key.job(id), 'tell:' .. protocol) end
  redis.call('HDEL', key.job(id), 'tell', 'told', 'posted')
  return true
end

local is = look_up(id, {'deletion', 'tell', 'caller', 'idempotency', 'ended_at'})
local is_notified = not is.tell or forget_wants(is.tell)
local age = time - tonumber(note.since)
local is_gone = args.found == 0 and is_notified and age >= args.lease_s
if is_gone and is.deletion then
  redis.call('HSET', key.job(id), 'deletion', 'gone')
  count_kept(id, is.caller, is.idempotency, tonumber(is.ended_at))
end
if is_gone and age >= args.watch_s then
  redis.call('ZREM', key.deletions, id)
  redis.call('HDEL', key.deletion_notes, id)
  return 1
end
-- A notification that fails is tried for hours.
local pause_s = math.max(math.min(1, args.lease_s), math.min(age / 4, 600))
if is_gone then
  pause_s = math.min(3 * age, args.watch_s)
elseif is_notified then
  pause_s = math.max(args.lease_s - age, 0.1)
end
redis.call('ZADD', key.deletions, seconds(time + pause_s), id)
return is_gone and 1 or 0
