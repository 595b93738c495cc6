drop function bytes_ranking_page, bytes_ranked_above, bytes_rank, bytes_rebuild_steps;
drop table bytes_ranking_steps, bytes_rankings;
drop type bytes_scope;
