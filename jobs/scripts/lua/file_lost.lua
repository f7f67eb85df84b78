#!lua flags=no-writes
-- Uploads that have begun and never ended, `most` of them.
return redis.call('ZRANGEBYSCORE', key.files_begun, '-inf', seconds(now()), 'LIMIT', 0, args.most)
