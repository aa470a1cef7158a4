-- records_read: what changed in a set since a version, in one moment.
-- KEYS 1 NAME (hash), 2 manifest:NAME (hash), 3 NAME:changed (zset)
-- ARGV 1 version known, 2 most changes wanted
-- Output {version, seal, field, record, field, record...}; a record that is gone is ''. The list has
--        no fields if there are more changes than wanted: the set does not add up then and is read whole.
-- Crash: it changes nothing.
local manifest = redis.call('HMGET', KEYS[2], 'v', 'seal')
local out = {manifest[1] or '0', manifest[2] or ''}
if out[1] == ARGV[1] then
  return out
end
local fields = redis.call('ZRANGEBYSCORE', KEYS[3], '(' .. ARGV[1], '+inf', 'LIMIT', 0, tonumber(ARGV[2]) + 1)
if #fields == 0 or #fields > tonumber(ARGV[2]) then
  return out
end
local records = redis.call('HMGET', KEYS[1], unpack(fields))
for i, field in ipairs(fields) do
  out[#out + 1] = field
  out[#out + 1] = records[i] or ''
end
return out
