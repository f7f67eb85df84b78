#!lua flags=allow-oom
-- processing → succeeded, failed, canceled or expired, by the attempt that owns the job. First commit wins.
-- Repeating it, under the same token, gives the same answer: what its record says of its way and its end, and who is notified.
local id, status, error = args.job_id, args.status, args.error
local job = key.job(id)
local fields = {'token', 'status', 'queue', 'caller', 'batch', 'start_by', 'end_by', 'idempotency', 'tell', 'attempts',
  'stage', 'step', 'steps', 'kept', 'watched', 'sent'}
for _, protocol in ipairs(args.protocols or {}) do fields[#fields + 1] = 'tell:' .. protocol end
local is = look_up(id, fields)

if is.token ~= args.token then return {'fenced'} end
if is.status == status then return {'done', redis.call('HGETALL', job)} end
if is.status ~= 'processing' then return {'fenced'} end
redis.call('ZREM', key.running(is.queue), id)
if error == '' and status == 'expired' then error = expire_error('deadline') end
local fields = {'images', args.artifacts, 'timings', args.timings, 'error', error}
local function note(name, value)
  fields[#fields + 1], fields[#fields + 2] = name, value
end
if args.data then note('data', args.data) end
if args.warnings then note('warnings', args.warnings) end
if args.stage then
  note('stage', args.stage)
  note('step', args.step)
  note('steps', args.steps)
end
local written = conclude(id, status, fields, args.error_code, is)
note_pace(is.queue)
local record = {}
for name, value in pairs(is) do record[#record + 1], record[#record + 2] = name, value end
-- Notifications that were added since it was claimed.
for protocol in string.gmatch(args.notifier and is.tell or '', '%S+') do
  local name = 'tell:' .. protocol
  if not is[name] then record[#record + 1], record[#record + 2] = name, redis.call('HGET', job, name) or '' end
end
add_written(record, written)
return {'done', record}
