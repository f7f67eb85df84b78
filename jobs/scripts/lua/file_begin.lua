-- An upload begins: of one that has not ended after so long, whatever stands in the store is deleted.
redis.call('ZADD', key.files_begun, seconds(now() + args.within_s), args.id)
return 'done'
