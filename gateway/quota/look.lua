-- What a tenant has used, to the moment; changes nothing. See QuotaStore.look.
--   KEYS  state hash, slots
--   ARGV  echo, time ("" for the server's), drain ("0" for no rate), then windows...
--   gives echo, time, level, slots in use, then count and end, in turn

local state = redis.call("HMGET", KEYS[1], "last", "level", "level_at")
local now = clock(ARGV[2], state[1])
local level = tonumber(state[2] or 0) - (now - tonumber(state[3] or 0)) * tonumber(ARGV[3])
if level < 0 then level = 0 end
local answer = {ARGV[1], now, level, redis.call("ZCOUNT", KEYS[2], "(" .. whole(now), "+inf")}
for i = 4, #ARGV do
  local stored = redis.call("HMGET", KEYS[1], ARGV[i], ARGV[i] .. ":end")
  local count, stop = counted(stored[1], stored[2], ARGV[i], now)
  answer[#answer + 1] = count
  answer[#answer + 1] = stop
end
return answer
