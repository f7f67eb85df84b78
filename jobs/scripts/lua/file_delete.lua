#!lua flags=allow-oom
-- Have a file go, of this caller (or anybody's), unless a job needs it. Answers its record, or why not.
-- Repeating it, under the same token, gives the same answer.
local id = args.id
local record = redis.call('HGETALL', key.file(id))
local is = by_name(record)
if not is.caller or (args.caller and args.caller ~= is.caller) then return {'missing'} end
if is.going then return is.going == args.token and {'going', record} or {'missing'} end
local needed = is_file_needed(id)
if needed ~= 'no' then return {needed} end
let_file_go(id, is, args.token)
return {'going', record}
