// The status object of the wire contract, written by hand, against the schema's own: equal in both
// directions, or this file does not compile.

import type { components } from "./schema";

type StageName = "backup_db" | "backup_files" | "create_bundle" | "upload_remote" | "cleanup";

interface StageStatus {
  name: StageName;
  status: "pending" | "running" | "completed" | "failed" | "stopped";
  started_at: string | null;
  finished_at: string | null;
  bytes_processed: number;
  bytes_total: number;
  detail: string | null;
}

interface BackupStatus {
  kind: "backup" | "restore" | "verify";
  site_id: number;
  site_name: string;
  status: "idle" | "running" | "completed" | "failed" | "stopped";
  progress: number;
  message: string;
  stage: StageName | null;
  stage_detail: string | null;
  bytes_processed: number;
  bytes_total: number;
  error: string | null;
  started_at: string | null;
  job_id: string | null;
  finished_at: string | null;
  eta_seconds: number | null;
  node: string;
  worker: string | null;
  stopping: boolean;
  stages: StageStatus[];
}

type Served = components["schemas"]["BackupStatus"];

// Two types are identical if no conditional type tells them apart; that sees optional fields too.
type Identical<A, B> =
  (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
// An intersection, as the generator may write one, is made one object first.
type Plain<T> = T extends (infer Item)[]
  ? Plain<Item>[]
  : T extends object
    ? { [Key in keyof T]: Plain<T[Key]> }
    : T;

export const identical: Identical<Plain<BackupStatus>, Plain<Served>> = true;
export const served = (status: BackupStatus): Served => status;
export const read = (status: Served): BackupStatus => status;
