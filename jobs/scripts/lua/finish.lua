#!lua flags=allow-oom
-- processing → succeeded, failed, canceled or expired, by the attempt that owns the job. First commit wins.
-- Repeating it, under the same token, gives the same answer: the record.
local id, status, error = args.job_id, args.status, args.error
local record = redis.call('HGETALL', key.job(id))
local is = by_name(record)

if is.token ~= args.token then return {'fenced'} end
if is.status == status then return {'done', record} end
if is.status ~= 'processing' then return {'fenced'} end
redis.call('ZREM', key.running(is.queue), id)
if error == '' and status == 'expired' then error = expire_error('deadline') end
local fields = {'images', args.artifacts, 'timings', args.timings, 'error', error}
local function note(name, value)
  fields[#fields + 1], fields[#fields + 2] = name, value
end
if args.data then note('data', args.data) end
if args.stage then
  note('stage', args.stage)
  note('step', args.step)
  note('steps', args.steps)
end
add_written(record, conclude(id, status, fields, args.error_code, is))
note_pace(is.queue)
return {'done', record}
