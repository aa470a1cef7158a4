-- records_write: store or remove one record of a set.
-- KEYS 1 NAME (hash), 2 manifest:NAME (hash), 3 NAME:changed (zset), 4 NAME:lastrun (hash),
--      5 rev (string), 6 audit (stream), 7 NAME:cursor (hash)
-- ARGV 1 manifest version seen, 2 field, 3 record ('': remove it), 4 manifest version, 5 manifest seal,
--      6 rev, 7 changes to keep, 8 audit length, 9.. audit fields
-- Output 1 written, 0 somebody else wrote in between and nothing was changed.
-- Crash: before it nothing is changed; after it all is.
if (redis.call('HGET', KEYS[2], 'v') or '0') ~= ARGV[1] then
  return 0
end
if ARGV[3] == '' then
  redis.call('HDEL', KEYS[1], ARGV[2])
  redis.call('HDEL', KEYS[4], ARGV[2])
  redis.call('HDEL', KEYS[7], ARGV[2])
else
  redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
end
redis.call('HSET', KEYS[2], 'v', ARGV[4], 'seal', ARGV[5])
redis.call('ZADD', KEYS[3], ARGV[4], ARGV[2])
redis.call('ZREMRANGEBYRANK', KEYS[3], 0, -1 - tonumber(ARGV[7]))
redis.call('SET', KEYS[5], ARGV[6])
redis.call('XADD', KEYS[6], 'MAXLEN', '~', ARGV[8], '*', unpack(ARGV, 9))
return 1
