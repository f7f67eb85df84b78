-- Write a file's record, whose object is in the store; or renew the file of the same bytes that its caller has already.
-- Answers which record it is, or how much its caller has where there is no room.
-- Repeating it gives the same answer.
local id, is = args.id, args.record
local known = redis.call('HGET', key.file_hashes(is.caller), is.purpose .. ' ' .. is.sha256)
local earlier = known and file_record(known)
if earlier then
  renew_file(known, earlier, is.expires_at)
  return {'kept', known, redis.call('HGETALL', key.file(known))}
end
local has = tonumber(redis.call('HGET', key.file_bytes, is.caller) or 0)
if args.max_bytes and has + is.counted > args.max_bytes then return {'no room', tostring(has)} end

local number, command = next_number(), {}
for name, value in pairs(is) do command[#command + 1], command[#command + 2] = name, value end
redis.call('HSET', key.file(id), unpack(command))
redis.call('ZADD', key.files, number, id)
redis.call('ZADD', key.files_of(is.caller), number, id)
redis.call('ZADD', key.files_for(is.caller, is.purpose), number, id)
redis.call('HSET', key.file_hashes(is.caller), is.purpose .. ' ' .. is.sha256, id)
count_file(is.caller, is.counted)
if is.expires_at then redis.call('ZADD', key.file_expiry, is.expires_at, id) end
redis.call('ZREM', key.files_begun, id)
return {'kept', id, redis.call('HGETALL', key.file(id))}
