#!lua flags=allow-oom
-- Takes messages of jobs that are not released (any more) out of a list of the broker. A claim would refuse them, but where no
-- worker takes any they would stand for ever. It looks at those that are taken next: at `most`, and as many more as may be
-- of released jobs. What is no message of ours is left to the consumer.
-- Answers how many it took out; repeated, it goes on.
local MOST_RELEASED = 1000

local function is_stale(message)
  local is_json, content = pcall(cjson.decode, message)
  local headers = is_json and type(content) == 'table' and content.headers
  if type(headers) ~= 'table' or headers.task ~= args.task or type(headers.id) ~= 'string' then return false end
  return not redis.call('ZSCORE', key.line(args.queue), headers.id)
end

local most = args.most + math.min(MOST_RELEASED, redis.call('ZCARD', key.line(args.queue)))
local messages, dropped = redis.call('LRANGE', args.list, -most, -1), 0
for at = #messages, 1, -1 do
  if is_stale(messages[at]) then dropped = dropped + redis.call('LREM', args.list, -1, messages[at]) end
end
return dropped
