"""The options that a run's result does not depend on: all others may not change when a run resumes."""
import pytest

from openatac.options.declaration import Role, build_config, from_json, option_fields, option_values
from openatac.training.config import CifarConfig, ImagenetConfig

WITHOUT_EFFECT = {
    'recipe', 'print_config', 'summary', 'dry_run', 'evaluate', 'report', 'predictions', 'resume',
    'allow_inexact_resume', 'write_initial', 'save_dir', 'save_plot_dir', 'export', 'log_interval',
    'tensorboard', 'project', 'name'}
# The settings of a run have the devices and the images' contents, whatever chose them.
DATA_AND_DEVICES = {
    CifarConfig: {'data_dir', 'data_url', 'class_list', 'max_bad_share', 'num_data_workers', 'gpus'},
    ImagenetConfig: {'data_dir', 'train_labels', 'val_labels', 'use_rec', 'rec_train', 'rec_train_idx',
                     'rec_val', 'rec_val_idx', 'class_list', 'class_names', 'max_bad_share', 'num_workers',
                     'num_gpus', 'kvstore'}}
# The network's parts are recorded, not its name, nor the files that it came from.
OTHERS = {CifarConfig: {'model', 'initial', 'save_period'},
          ImagenetConfig: {'initial', 'save_frequency', 'logging_file'}}


@pytest.mark.parametrize('kind', [CifarConfig, ImagenetConfig])
def test_result_depends_on_every_option_except_these(kind):
    without = {name for name, field in option_fields(kind).items() if not field.has(Role.RESULT)}
    assert without == WITHOUT_EFFECT | DATA_AND_DEVICES[kind] | OTHERS[kind]


@pytest.mark.parametrize('kind', [CifarConfig, ImagenetConfig])
def test_files_without_an_option_imply_its_default_unless_every_version_wrote_it(kind):
    config = build_config(kind, {})
    values = option_values(config)
    for name, field in option_fields(kind).items():
        others = {other: value for other, value in values.items() if other != name}
        if field.has(Role.IN_ALL_FILES):
            with pytest.raises(ValueError, match=name):
                from_json(kind, others)
        else:
            assert from_json(kind, others) == config, name
