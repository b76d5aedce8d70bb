--[[
  Makes entries of the jobs that BullMQ has added in the same transaction, with the position up to which their source was read. A job that
  was an entry before stays as it is.

  ARGV[1]  prefix
  ARGV[2]  node
  ARGV[3]  name of the position, or ''
  ARGV[4]  value of the position
  ARGV[5]  value that it must have had: else it stays. '' is any, and none
  ARGV[6…] queue, id, group, rank, due; of each job

  Key of the position: <prefix>::position:<name>

  Returns whether the position is stored (1 or 0), and the entries that are new.
]]
local prefix = ARGV[1]
local added = {}
for at = 6, #ARGV, 5 do
  local queue, id, group, rank, due = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
  local key = keyOf(prefix, queue, id)
  if redis.call('EXISTS', key) == 0 then return redis.error_reply('TRYAGAIN BullMQ did not add a job') end
  if redis.call('HEXISTS', key, 'seq') == 0 then
    local seq = redis.call('INCR', keyOf(prefix, '', 'seq'))
    redis.call('HSET', key, 'seq', seq, 'group', group, 'state', 'waiting', 'rank', rank, 'due', due, 'attempts', 0, 'reason', '')
    redis.call('SADD', keyOf(prefix, '', 'queues'), queue)
    file(prefix, queue, id, seq, group, nil, 'waiting')
    -- BullMQ counts by queue, and anew for each that is put back.
    if redis.call('ZREM', keyOf(prefix, queue, 'prioritized'), id) == 1 then ready(prefix, queue, id, seq, rank) end
    added[#added + 1] = read(prefix, queue, id)
  end
end
local moved = 1
if ARGV[3] ~= '' then
  local position = keyOf(prefix, '', 'position:' .. ARGV[3])
  local stored = redis.call('GET', position)
  if ARGV[5] == '' or stored == ARGV[5] then
    redis.call('SET', position, ARGV[4])
  else
    moved = 0
  end
end
tell(prefix, ARGV[2], added)
return { moved, added }
