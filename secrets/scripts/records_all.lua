-- records_all: a whole set, in one moment. Not MULTI: Redis refuses that, also
-- for reads, when it has reached its maxmemory.
-- KEYS 1 NAME (hash), 2 manifest:NAME (hash)
-- Output {version, seal, field, record, field, record...}
-- Crash: it changes nothing.
local manifest = redis.call('HMGET', KEYS[2], 'v', 'seal')
local out = {manifest[1] or '0', manifest[2] or ''}
for i, text in ipairs(redis.call('HGETALL', KEYS[1])) do
  out[2 + i] = text
end
return out
