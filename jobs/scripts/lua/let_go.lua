#!lua flags=allow-oom
-- Lets go of a message of which no job is made: it is refused, and nobody is to be notified. With `list` it is put there,
-- for its real receiver.
-- Repeating it changes nothing.
local held = redis.call('HGET', key.held, args.tag)
if not held then return 0 end
if args.list then
  redis.call('LPUSH', args.list, string.match(held, '^[^\n]*\n(.*)$'))
else
  note_refused(string.match(held, '^[^\6\n]*'))
end
let_go(args.tag)
return 1
