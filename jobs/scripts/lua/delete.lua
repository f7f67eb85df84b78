#!lua flags=allow-oom
-- Deletes what a job that has ended was asked for, what came of it and why it failed. Its status, its times and how many
-- images there were stay; its objects are looked for from now on. With `scope` that caller's jobs alone are there.
-- Repeating it changes nothing, and gives the same answer.
local NO_TEXT = 'the text of this error was deleted with the result of the job'

local id = args.job_id
local job = key.job(id)
local is = look_up(id, {'status', 'caller', 'ended_at', 'deletion', 'created_at', 'queue', 'images', 'error', 'tell',
  'idempotency'})
if not is.status or (args.scope and is.caller ~= args.scope) then return {'missing', ''} end
if not is.ended_at then return {'not_ended', is.status} end
if is.deletion then
  if is.deletion == 'deleting' then look_again(id) end
  return {'deleted', redis.call('HGETALL', job)}
end

-- What is damaged goes, too.
local function read(text)
  local is_read, found = pcall(cjson.decode, text or '')
  return is_read and type(found) == 'table' and found or {}
end

-- How many pictures there are among what it made, and the keys of all objects.
local function made_of(artifacts)
  local count, keys = 0, {}
  for _, each in ipairs(artifacts) do
    if type(each) == 'table' then
      if string.sub(tostring(each.content_type), 1, 6) == 'image/' then count = count + 1 end
      for _, name in ipairs({'key', 'thumbnail_key'}) do
        if type(each[name]) == 'string' then keys[#keys + 1] = each[name] end
      end
    end
  end
  return count, keys
end

local function without_text(error)
  if not error or error == '' then return '' end
  return cjson.encode({code = tostring(read(error).code or 'unknown'), message = NO_TEXT})
end

-- Those who were notified are notified again, of an end without a result, and whatever follows such a job is not sent
-- again. Who was not is notified of that alone; a notifier who has the result in hand is not believed to have done it.
local function notify_again(protocols)
  local notified = {}
  for protocol in string.gmatch(protocols, '%S+') do
    if not redis.call('ZSCORE', key.outbox(protocol), id) then notified[#notified + 1] = protocol end
  end
  unpost(id, protocols)
  post(id, protocols)
  redis.call('HSET', job, 'told', table.concat(notified, ' '))
end

-- Of the events its end stays, under the same id: who has read that is not notified again.
local function forget_events()
  local events = key.events(id)
  local last = redis.call('XREVRANGE', events, '+', '-', 'COUNT', 1)[1]
  local left_s = redis.call('TTL', events)
  redis.call('DEL', events)
  if not last then return end
  redis.call('XADD', events, last[1], 'type', 'completed', 'data', cjson.encode({status = is.status}))
  if left_s > 0 then redis.call('EXPIRE', events, left_s) end
end

local pictures, keys = made_of(read(is.images))
redis.call('HSET', job, 'deletion', 'deleting', 'deleted_at', seconds(now()), 'made', pictures,
  'error', without_text(is.error))
redis.call('HDEL', job, 'spec', 'request', 'data', 'warnings', 'images')
forget_events()
redis.call('ZREM', key.dead, id)
if is.tell then notify_again(is.tell) end
note_deletion(id, is, as_list(keys), args.inputs)
redis.call('ZADD', key.deletions, seconds(now()), id)
count_kept(id, is.caller, is.idempotency, tonumber(is.ended_at))
return {'deleted', redis.call('HGETALL', job)}
