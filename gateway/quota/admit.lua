-- Admission of one call: checks rate and concurrency, then charges both or none. See QuotaStore.admit and gcra.py.
--   KEYS  state hash, slots (sorted set: call -> end of its lease), remembered verdict
--   ARGV  call, time ("" for the server's), known birth of the state ("" for none), birth to give it if it has none,
--         drain, capacity ("0" for no rate), concurrency ("-1" for none), lease, slots to free first...
--   gives call, verdict ("ok", "rate", "concurrency", "lost"), birth, wait, level after it

local call, known = ARGV[1], ARGV[3]
local state = redis.call("HMGET", KEYS[1], "born", "last", "level", "level_at", "cut", "back_at")
local born = state[1]
if not born then
  born = ARGV[4]
  redis.call("HSET", KEYS[1], "born", born)
end
for i = 9, #ARGV do redis.call("ZREM", KEYS[2], ARGV[i]) end
-- This state is not the one that the replica knew: it first says again what it knows, then asks again.
if known ~= "" and known ~= born then return {call, "lost", born, 0, 0} end

local remembered = redis.call("GET", KEYS[3])
if remembered then
  local verdict, wait, level = string.match(remembered, "^(%a+) (%d+) (%d+)$")
  return {call, verdict, born, tonumber(wait), tonumber(level)}
end

local now, back = clock(ARGV[2], state[2])
local drain, capacity, concurrency = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local verdict, wait, level, relief, lowered = "ok", 0, 0, 0, false
if capacity > 0 then
  level, relief, lowered = drained(state[3], state[4], state[5], now, drain, capacity)
  local excess = level + CALL - capacity
  if excess > 0 then
    verdict, wait = "rate", math.ceil(excess / drain)
    if relief > 0 then wait = math.min(wait, relief + math.ceil(CALL / drain)) end
  end
end
if verdict == "ok" and concurrency >= 0 then
  local lease, back_at = tonumber(ARGV[8]), back and now or tonumber(state[6] or 0)
  redis.call("ZREMRANGEBYSCORE", KEYS[2], "-inf", whole(now))
  if back_at > 0 and now - back_at >= lease then
    -- Calls that still run were renewed since the clock went back: what lies further ahead belongs to nobody.
    redis.call("ZREMRANGEBYSCORE", KEYS[2], "(" .. whole(now + lease), "+inf")
    redis.call("HSET", KEYS[1], "back_at", "0")
  end
  if redis.call("ZCARD", KEYS[2]) >= concurrency then verdict, wait = "concurrency", 100000 end
end

if verdict == "ok" then
  if capacity > 0 then
    level = level + CALL
    redis.call("HSET", KEYS[1], "last", whole(now), "level", whole(level), "level_at", whole(now))
    if lowered then redis.call("HSET", KEYS[1], "cut", whole(now) .. " " .. whole(capacity)) end
  else
    redis.call("HSET", KEYS[1], "last", whole(now))
  end
  redis.call("PEXPIRE", KEYS[1], KEEP_MS)
  if concurrency >= 0 then
    redis.call("ZADD", KEYS[2], whole(now + tonumber(ARGV[8])), call)
    redis.call("PEXPIRE", KEYS[2], KEEP_MS)
  end
end
redis.call("SET", KEYS[3], verdict .. " " .. whole(wait) .. " " .. whole(level), "PX", 5000)
return {call, verdict, born, wait, level}
