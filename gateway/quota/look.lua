-- What a tenant has used, to the moment; charges nothing. See QuotaStore.look.
--   KEYS  state hash, slots
--   ARGV  echo, time ("" for the server's), drain, capacity ("0" for no rate), then windows...
--   gives echo, birth ("" for none), time, level, slots in use, then count and end, in turn

local state = redis.call("HMGET", KEYS[1], "born", "last", "level", "level_at", "cut")
local now = clock(ARGV[2], state[2])
local level, capacity = 0, tonumber(ARGV[4])
if capacity > 0 then
  level = math.min(drained(state[3], state[4], state[5], now, tonumber(ARGV[3]), capacity), capacity)
end
local answer = {ARGV[1], state[1] or "", now, level, redis.call("ZCOUNT", KEYS[2], "(" .. whole(now), "+inf")}
for i = 5, #ARGV do
  local stored = redis.call("HMGET", KEYS[1], ARGV[i], ARGV[i] .. ":end")
  local count, stop = counted(stored[1], stored[2], ARGV[i], now)
  answer[#answer + 1] = count
  answer[#answer + 1] = stop
end
return answer
