-- GATE: what all processes know of a refused credential. Moves no job.
-- KEYS  places of no partition: 1 the hash of refusals
-- ARGV  1 "refuse", 2 field, 3 first pause ms, 4 longest pause ms, 5 code, 6 text
--       1 "ask", 2 field, 3 ms until another may probe if this one says nothing
--       1 "open", then fields: they are forgotten
--       1 "list"
-- Output {time, ...}, the time being that of the answer, in ms, and then for
--        refuse the refusal as JSON; for ask 'go', 'probe', or 'refused' and
--        JSON; for list each field and its JSON
-- Crash at any point: a refusal that is not written is learnt from the next
-- login; one that is not forgotten ends with the next probe.
-- Refusals that come while one stands were on their way already and do not
-- make the pause longer; only that of a probe does.
local key, op, field = KEYS[1], ARGV[1], ARGV[2]
redis.call('HLEN', key)
local t = now()
local stamp = string.format('%.0f', t)
if op == 'open' then
  redis.call('HDEL', key, unpack(ARGV, 2))
  return {stamp}
end
if op == 'list' then
  local all = redis.call('HGETALL', key)
  table.insert(all, 1, stamp)
  return all
end
local text = redis.call('HGET', key, field)
local was = text and cjson.decode(text) or nil
if op == 'ask' then
  if not was then return {stamp, 'go'} end
  if t < was.u then return {stamp, 'refused', text} end
  was.u, was.p = t + tonumber(ARGV[3]), 1
  redis.call('HSET', key, field, cjson.encode(was))
  return {stamp, 'probe'}
end
if not was then
  was = {n = 1, t = t}
elseif was.p then
  was.n, was.p = was.n + 1, nil
elseif t < was.u then
  return {stamp, text}
end
local pause = math.min(tonumber(ARGV[4]), tonumber(ARGV[3]) * 2 ^ math.min(was.n - 1, 20))
was.u, was.o, was.x = t + pause, ARGV[5], ARGV[6]
text = cjson.encode(was)
redis.call('HSET', key, field, text)
return {stamp, text}
