-- token: store or remove one token.
-- KEYS 1 tokens (hash), 2 rev (string), 3 audit (stream)
-- ARGV 1 token id, 2 record ('': remove it), 3 rev, 4 audit length, 5.. audit fields
-- Output 1 done, 0 there was no such token and nothing was changed.
-- Crash: before it nothing is changed; after it all is.
if ARGV[2] == '' then
  if redis.call('HDEL', KEYS[1], ARGV[1]) == 0 then
    return 0
  end
else
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
end
redis.call('SET', KEYS[2], ARGV[3])
redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[4], '*', unpack(ARGV, 5))
return 1
