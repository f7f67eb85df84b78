#!lua flags=allow-oom
-- queued → processing, and the next job goes to Celery: whose turn it is.
-- A job's message brings its caller a turn. With `gives_way`, a job of its caller's with a better priority takes that,
-- and this one waits for another.
-- Repeating it, under the same token, gives the same answer.
local id, token, gives_way = args.job_id, args.token, args.gives_way
local job = key.job(id)
local record = redis.call('HGETALL', job)
local is = by_name(record)
local status, queue, caller = is.status, is.queue, is.caller

if not status then return {'missing'} end
-- Asked first: it may be another's by now, and the messages have to be sent nevertheless.
local overtaken = is.overtaken and cjson.decode(is.overtaken)
if overtaken and overtaken.token == token then return {'refused', as_list(overtaken.released), 'overtaken'} end
if status == 'processing' and is.token == token then return {'claimed', is.next, record} end
if status ~= 'queued' then
  -- The script that ended it did not know its place: it takes others' room no longer.
  if redis.call('ZSCORE', key.line(queue), id) then
    withdraw(id, queue, caller)
    local ids = release(queue, caller)
    if #ids > 0 then redis.call('HSET', job, 'overtaken', cjson.encode({token = token, released = ids})) end
    return {'refused', as_list(ids), status}
  end
  return {'refused', status == 'expired' and not is.token and is.next or '[]', status}
end

-- A newer producer wrote it; a newer worker will run it. It stays released, and its message is sent again.
if tonumber(is.schema) > SCHEMA_VERSION then return {'refused', '[]', 'newer'} end
if is_paused(queue) then
  step_back(id, queue, caller)
  return {'refused', '[]', 'paused'}
end
local is_late = is_past(is.end_by) or is_past(is.start_by)
local is_released = redis.call('ZSCORE', key.line(queue), id)
-- A message too many, of a job that is not released, brings no turn.
if gives_way and not is_late and not is_released then return {'refused', '[]', 'waiting'} end
local better = gives_way and not is_late and better_than(rank_of(is.turn), queue, caller)
if better then
  step_back(id, queue, caller)
  call_up(better, queue, caller)
  local ids = release(queue, caller)
  table.insert(ids, 1, better)
  redis.call('HSET', job, 'overtaken', cjson.encode({token = token, released = ids}))
  return {'refused', as_list(ids), 'overtaken'}
end
if is_late then
  give_up(id, queue, caller)
elseif is_released then  -- So it stands nowhere else.
  local sets = {key.queued(queue), key.turns(queue, caller), key.released(queue), key.line(queue)}
  for _, each in ipairs(sets) do redis.call('ZREM', each, id) end
else
  withdraw(id, queue, caller)
end
local ids = release(queue, caller)
local released = as_list(ids)
if is_late then
  conclude(id, 'expired', {'error', late_error(id), 'next', released}, nil, is)
  return {'refused', released, 'expired'}
end
local time = now()
local written = {'status', 'processing', 'owner', args.owner, 'token', token, 'started_at', seconds(time),
  'next', released, 'epoch', (is.epoch or 0) + 1, 'deliveries', (is.deliveries or 0) + 1}
local limit = tonumber(is.time_limit)
if limit then written[#written + 1], written[#written + 2] = 'run_by', seconds(time + limit) end
if not is_released or rank_of(is_released) >= LINE then written[#written + 1], written[#written + 2] = 'unpaid', 1 end
redis.call('HSET', job, unpack(written))
count_in_batch(is.batch, status, 'processing')
redis.call('ZADD', key.running(queue), seconds(time + args.lease_s), id)
if is.start_by or is.end_by then forget_deadline(id, caller) end
announce(id, 'status', {status = 'processing'}, not is.watched)
add_written(record, written)
-- What their messages are made of goes along, once: else the sender reads it again.
for _, each in ipairs(ids) do
  record[#record + 1], record[#record + 2] = 'message:' .. each, as_list(message_of(each))
end
return {'claimed', released, record}
